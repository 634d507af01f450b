package tablet

import (
	"encoding/csv"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"testing"

	"github.com/hearth-survey/hearth/server/dedup"
	"github.com/hearth-survey/hearth/syncer"
)

// TestDoorRates measures the warning at the door on people with known duplicates: of those who were interviewed at the site before, how
// many are seen to be, and of those who were not, how many are warned of all the same. A site is 200 people.
func TestDoorRates(t *testing.T) {
	root := os.Getenv("HEARTH_SHARED")
	if root == "" {
		root = "../../../shared"
	}
	f, err := os.Open(filepath.Join(root, "data", "dedup", "cn10000.csv"))
	if err != nil {
		if os.Getenv("HEARTH_CI") != "" {
			t.Fatal(err)
		}
		t.Skip("skipped: ../shared/data is not here")
	}
	defer f.Close()
	rows, err := csv.NewReader(f).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	at := map[string]int{}
	for i, h := range rows[0] {
		at[h] = i
	}
	by := map[string][]int{} // records by person
	tokens := make([][]uint64, len(rows))
	var people []string
	for i, r := range rows[1:] {
		c := syncer.Clue{Surname: dedup.Surname(r[at["name"]], "", "", r[at["pinyin"]]), Sex: map[string]int{"M": 1, "F": 2}[r[at["sex"]]], Phone: r[at["phone"]], ResidentID: r[at["id_no"]]}
		if y, err := strconv.Atoi(r[at["dob"]][:min(4, len(r[at["dob"]]))]); err == nil {
			c.BirthYears = []int{y}
		}
		tokens[i+1] = syncer.Hints([]byte("a key of the study"), c)
		id := r[at["ent_id"]]
		if by[id] == nil {
			people = append(people, id)
		}
		by[id] = append(by[id], i+1)
	}
	warned := func(site map[uint64]bool, record int) bool {
		return slices.ContainsFunc(tokens[record], func(x uint64) bool { return site[x] })
	}
	random := rand.New(rand.NewPCG(1, 2))
	var again, seen, others, alarms int
	for range 40 {
		random.Shuffle(len(people), func(i, j int) { people[i], people[j] = people[j], people[i] })
		site := map[uint64]bool{}
		for _, p := range people[:200] {
			for _, x := range tokens[by[p][0]] {
				site[x] = true
			}
		}
		for i, p := range people {
			for k, record := range by[p] {
				switch was := warned(site, record); {
				case i >= 200:
					others++
					if was {
						alarms++
					}
				case k > 0:
					again++
					if was {
						seen++
					}
				}
			}
		}
	}
	found, wrong := float64(seen)/float64(again), float64(alarms)/float64(others)
	t.Logf("%.3f of %d met again are warned of, %.4f of %d others", found, again, wrong, others)
	if found < .88 || wrong > .06 {
		t.Errorf("%.3f of those met again are warned of, %.4f of the others", found, wrong)
	}
}
