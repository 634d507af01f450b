package export

import (
	"slices"
	"strconv"
	"strings"

	"github.com/hearth-survey/hearth/proto/fault"
	formv1 "github.com/hearth-survey/hearth/proto/hearth/form/v1"
	servicev1 "github.com/hearth-survey/hearth/proto/hearth/service/v1"
)

// stage is a step between the answers and the files: it derives variables, cleans, weights, or takes out what must not be
// published. All stages see every row, one after the other, so that what one adds the next one can use or take out.
type stage interface {
	// layOut may add columns to the tables of the plan (Table.addColumn) and hide some (Column.hidden), before any row.
	layOut(j *job) error
	// looks is whether the stage needs to see all rows before any is counted or written.
	looks() bool
	// look sees a row in that pass, as the stages before it made it; there row is called after it, and what comes of it is not
	// written. What it takes from a row it must copy.
	look(x *extractor, r *row) error
	// row may change the cells of a row, and the reasons. It does the same each time the row comes; keys are those of the
	// source in every table. Not keeping a row leaves out the rows below it too, but not those of other tables about the
	// same interview.
	row(x *extractor, r *row) (keep bool, err error)
	// finish may write files of its own (job.sink) and add warnings, after all data files.
	finish(j *job, layouts map[*Table]*layout) error
	// record says in the manifest what was done.
	record(m *Manifest)
}

// plainStage does nothing; a stage embeds it for the methods it has no use for.
type plainStage struct{}

func (plainStage) layOut(*job) error                     { return nil }
func (plainStage) looks() bool                           { return false }
func (plainStage) look(*extractor, *row) error           { return nil }
func (plainStage) row(*extractor, *row) (bool, error)    { return true, nil }
func (plainStage) finish(*job, map[*Table]*layout) error { return nil }
func (plainStage) record(*Manifest)                      {}

// stages are those that an export goes through, in their order: cleaning, derived variables and weights before privacy.
func stages(j *job) ([]stage, error) {
	d, err := newDerived()
	if err != nil {
		return nil, err
	}
	c, err := newCleaning(j)
	if err != nil {
		return nil, err
	}
	out := []stage{c, d}
	if c.opts.Skipped == "mark" {
		g, err := newRouting(j)
		if err != nil {
			return nil, err
		}
		out = append(out, g)
	}
	if j.opts.Privacy == nil || j.opts.Profile == servicev1.PrivacyProfile_PRIVACY_PROFILE_IDENTIFIED {
		return out, nil
	}
	p, err := newPrivacy(j)
	return append(out, p), err
}

// use lets the rows of a job go through stages, and makes ready to count what comes of them.
func (j *job) use(list []stage) error {
	for _, st := range list {
		if err := st.layOut(j); err != nil {
			return err
		}
		j.stages = append(j.stages, st)
	}
	if err := j.plan.leave(j.opts.Levels); err != nil {
		return err
	}
	j.stats = map[*Table]*tableStats{}
	for _, t := range j.plan.Tables {
		j.stats[t] = newTableStats(t)
	}
	return nil
}

// extractor makes one for a pass of the job.
func (j *job) extractor(emit func(*row) error) *extractor {
	x := newExtractor(j.plan, j.src, j.opts.Language, func(r *row) error {
		if r.table.left {
			return nil
		}
		return emit(r)
	})
	x.stages, x.roll = j.stages, j.roll
	return x
}

// leave takes the tables out that are not asked for, and those that a stage has taken out.
func (p *Plan) leave(levels []string) error {
	var names []string
	for _, t := range p.Tables {
		names = append(names, t.Name)
		t.left = t.left || len(levels) > 0 && !slices.Contains(levels, t.Name)
	}
	for _, l := range levels {
		if !slices.Contains(names, l) {
			return fault.New(fault.Invalid, fault.BadRequest, "there is no table %.40q: the tables are %s", l, strings.Join(names, ", "))
		}
	}
	left := func(t *Table) bool { return t.left }
	p.leftOut = slices.DeleteFunc(slices.Clone(p.Tables), func(t *Table) bool { return !left(t) })
	if p.Tables = slices.DeleteFunc(p.Tables, left); len(p.Tables) == 0 {
		return fault.New(fault.Invalid, fault.BadRequest, "none of the tables %s may stand in an export of this profile", strings.Join(levels, ", "))
	}
	return nil
}

// table finds a table of the plan by its name, nil where there is none.
func (p *Plan) table(name string) *Table {
	for _, t := range p.Tables {
		if t.Name == name {
			return t
		}
	}
	return nil
}

// column is the place of a column by its name, or -1.
func (t *Table) column(name string) int {
	for i, c := range t.Columns {
		if c.Name == name {
			return i
		}
	}
	return -1
}

// addColumn adds a column at the end of a table and returns its place. A name that is taken gets a number.
func (t *Table) addColumn(c Column) int {
	taken := map[string]bool{}
	for _, o := range t.Columns {
		taken[o.Name] = true
	}
	for _, q := range t.Questions {
		taken[q.Why] = true
	}
	base := unreserved(cutWords(clean(c.Name), maxName))
	c.Name = base
	for n := 2; taken[c.Name]; n++ {
		end := "_" + strconv.Itoa(n)
		c.Name = cutWords(base, maxName-len(end)) + end
	}
	c.relabel()
	t.Columns = append(t.Columns, &c)
	return len(t.Columns) - 1
}

// relabel makes the labels of the codes those of Values.
func (c *Column) relabel() {
	c.label = map[int32]*formv1.Text{}
	for _, v := range c.Values {
		c.label[v.Code] = v.Label
	}
}
