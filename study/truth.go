package study

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	surveyv1 "github.com/hearth-survey/hearth/proto/hearth/survey/v1"
)

// Truth is what is true about a simulated study and does not stand in its interviews: who is the same person, which
// household is the same, and who referred whom. Ids are made again from the seed when it is written.
type Truth struct {
	seed      uint64
	sizes     []uint8  // members of each household
	recruiter []int32  // household that referred it, or none
	wave      []uint16 // depth in its referral tree
	mode      []uint8  // how it was reached
	again     []meeting
}

// Households is how many different households there are.
func (t *Truth) Households() int { return len(t.sizes) }

// Interviews is how many interviews were held.
func (t *Truth) Interviews() int { return len(t.sizes) + len(t.again) }

// MaxWave is the depth of the deepest referral tree; a seed is at 0.
func (t *Truth) MaxWave() int {
	deepest := 0
	for _, w := range t.wave {
		deepest = max(deepest, int(w))
	}
	return deepest
}

// WritePeople writes a table of all appearances of people: interview_id, person_id, true_person. Two person ids with the
// same true_person mean the same person.
func (t *Truth) WritePeople(w io.Writer) error {
	b := bufio.NewWriterSize(w, 1<<16)
	fmt.Fprintln(b, "interview_id,person_id,true_person")
	for i, n := range t.sizes {
		interview := newID(t.seed, idInterview, 0, i, 0)
		for slot := range int(n) {
			id := newID(t.seed, idPerson, 0, i, slot)
			fmt.Fprintf(b, "%s,%s,%s\n", interview, id, id)
		}
	}
	for _, m := range t.again {
		interview := newID(t.seed, idInterview, 1, m.after, 0)
		for slot := range maxMembers {
			if m.kept&(1<<slot) != 0 {
				fmt.Fprintf(b, "%s,%s,%s\n", interview, newID(t.seed, idPerson, 1, m.after, slot), newID(t.seed, idPerson, 0, m.first, slot))
			}
		}
	}
	return b.Flush()
}

// WriteHouseholds writes a table of all interviewed households: interview_id, household_id, true_household. Somebody met
// again alone has a household of his own, but the true household is the one he belongs to.
func (t *Truth) WriteHouseholds(w io.Writer) error {
	b := bufio.NewWriterSize(w, 1<<16)
	fmt.Fprintln(b, "interview_id,household_id,true_household")
	for i := range t.sizes {
		id := newID(t.seed, idHousehold, 0, i, 0)
		fmt.Fprintf(b, "%s,%s,%s\n", newID(t.seed, idInterview, 0, i, 0), id, id)
	}
	for _, m := range t.again {
		fmt.Fprintf(b, "%s,%s,%s\n", newID(t.seed, idInterview, 1, m.after, 0), newID(t.seed, idHousehold, 1, m.after, 0), newID(t.seed, idHousehold, 0, m.first, 0))
	}
	return b.Flush()
}

// WriteReferrals writes a table of how each respondent was reached: person_id, recruiter_id (empty for who was not
// referred), wave (empty outside the referral trees), seed_id, mode.
func (t *Truth) WriteReferrals(w io.Writer) error {
	b := bufio.NewWriterSize(w, 1<<16)
	fmt.Fprintln(b, "person_id,recruiter_id,wave,seed_id,mode")
	root := make([]int32, len(t.recruiter))
	for i, j := range t.recruiter {
		mode := surveyv1.RecruitmentMode(t.mode[i])
		person := newID(t.seed, idPerson, 0, i, 0)
		switch {
		case j != none:
			root[i] = root[j]
			fmt.Fprintf(b, "%s,%s,%d,%s,referred\n", person, newID(t.seed, idPerson, 0, int(j), 0), t.wave[i], newID(t.seed, idPerson, 0, int(root[i]), 0))
		case mode == surveyv1.RecruitmentMode_RECRUITMENT_MODE_SEED:
			root[i] = int32(i)
			fmt.Fprintf(b, "%s,,0,%s,seed\n", person, person)
		case mode == surveyv1.RecruitmentMode_RECRUITMENT_MODE_RANDOM_AT_SITE:
			fmt.Fprintf(b, "%s,,,,random_at_site\n", person)
		default:
			fmt.Fprintf(b, "%s,,,,convenience\n", person)
		}
	}
	return b.Flush()
}

// WriteCSV writes the three tables as people.csv, households.csv and referrals.csv into a folder, which it makes where
// it is missing.
func (t *Truth) WriteCSV(dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("write the truth: make the folder %s: %w", dir, err)
	}
	for _, f := range []struct {
		name  string
		write func(io.Writer) error
	}{{"people.csv", t.WritePeople}, {"households.csv", t.WriteHouseholds}, {"referrals.csv", t.WriteReferrals}} {
		path := filepath.Join(dir, f.name)
		out, err := os.Create(path)
		if err != nil {
			return fmt.Errorf("write the truth: %w", err)
		}
		if err := errors.Join(f.write(out), out.Close()); err != nil {
			return fmt.Errorf("write the truth: %s is not complete, look for a full disk: %w", path, err)
		}
	}
	return nil
}
