// Package referral draws the graph of who referred whom, for supervisors who follow the chains of a snowball sample and
// for analysts who need seeds, waves and recruiters that can be trusted. The graph is a pure function of the facts (people
// met, interviews held, referrals told, coupons given) and of the decisions about who is the same person: the order in
// which tablets synced cannot change it, and taking a merge back restores it.
//
// Every told referral stays an edge with a stated fate; one referral at most per person is primary, and the primary ones
// form a forest whose depth is the wave. Tables of any origin can be read, and the graph is written as GraphML, as a table
// of edges and as a picture.
//
// The package will not guess. It makes nobody a seed whom no enumerator marked as one, drops no recruiter for want of an
// interview, and repairs no contradiction silently. It does not estimate anything about a population, does not decide who
// is the same person, and shows no name it was not given.
package referral
