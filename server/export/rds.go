package export

// rdsFrame is a row for each person of the referral graph: who recruited them, in which wave, and how many people they
// know. Its rows are complete only when the edges have been seen, and wait for them.
type rdsFrame struct {
	out        *hashedFile
	node, edge func(r *row, name string) string
	people     []rdsPerson
	recruiters map[string]string
}

// rdsPerson is the id of a person, and what follows the recruiter in the row.
type rdsPerson struct{ id, rest string }

// rdsColumns are the columns after the recruiter's, by the name they have here and in the table of nodes.
var rdsColumns = [][2]string{{"wave", "wave"}, {"degree", "network_size"}, {"seed", "seed"}, {"root_id", "root_id"}, {"recruits", "recruits"}, {"interviewed", "interviewed"}}

func newRDSFrame(node, edge *layout) *rdsFrame {
	return &rdsFrame{node: cellReader(node), edge: cellReader(edge), recruiters: map[string]string{}}
}

// cellReader reads the columns of a table by name, as they stand in a CSV file.
func cellReader(l *layout) func(r *row, name string) string {
	at := map[string]slot{}
	for _, s := range l.slots {
		if s.column != nil {
			at[s.name] = s
		}
	}
	return func(r *row, name string) string {
		s, ok := at[name]
		if !ok {
			return ""
		}
		return string(appendCell(nil, s.column.Kind, &r.cells[s.col]))
	}
}

func (f *rdsFrame) begin(sink *hashingSink) (err error) {
	if f.out, err = sink.create("graph/rds.csv"); err != nil {
		return err
	}
	line := "\ufeffid,recruiter_id"
	for _, c := range rdsColumns {
		line += "," + c[0]
	}
	_, err = f.out.Write([]byte(line + "\r\n"))
	return err
}

// addNode keeps the row of a person; a site recruits, and is not recruited.
func (f *rdsFrame) addNode(r *row) {
	if f.node(r, "kind") == "site" {
		return
	}
	p := rdsPerson{id: f.node(r, "person_id")}
	for _, c := range rdsColumns {
		p.rest += "," + f.node(r, c[1])
	}
	f.people = append(f.people, p)
}

// addEdge keeps who recruited whom: of several referrals of a person the one that counts for the wave.
func (f *rdsFrame) addEdge(r *row) {
	if f.edge(r, "primary") == "1" {
		f.recruiters[f.edge(r, "to_id")] = f.edge(r, "from_id")
	}
}

func (f *rdsFrame) close() error {
	for _, p := range f.people {
		if _, err := f.out.Write([]byte(p.id + "," + f.recruiters[p.id] + p.rest + "\r\n")); err != nil {
			return err
		}
	}
	return f.out.close()
}
