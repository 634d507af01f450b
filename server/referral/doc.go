// Package referral makes the graph of who referred whom, for supervisors who follow the chains of a snowball sample and
// for analysts who need seeds, waves, recruiters and estimates that can be trusted. The graph is a pure function of the
// facts (people met, interviews held, referrals told, coupons given) and of the decisions about who is the same person: the
// order in which tablets synced cannot change it, and taking a merge back restores it.
//
// Every told referral stays an edge with a stated fate; one referral at most per person is primary, and the primary ones
// form a forest whose depth is the wave. Prepare puts facts in order once, so that Build and Stats follow each merge at once;
// an Intake does so from the bytes of a store, and keeps of a million people numbers only.
// Measure and Strobe tell what reports ask; a Sample lays the respondents out for the estimators, each of which says what
// it takes for granted and how many respondents break that. Graphs are written for Gephi, graphviz, Pajek, Cytoscape,
// networkx, igraph, RDSAT and R, and drawn; tables of any origin can be read. Coupon codes need no server to be unique.
//
// The package will not guess. It makes nobody a seed whom no enumerator marked as one, drops no recruiter for want of an
// interview, and repairs no contradiction silently. It does not decide who is the same person, estimates no population's
// size, and shows no name it was not given.
package referral
