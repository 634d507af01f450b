package study

import (
	"encoding/csv"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"

	_ "embed" // the script that fits the model

	surveyv1 "github.com/hearth-survey/hearth/proto/hearth/survey/v1"
	"github.com/hearth-survey/hearth/proto/questionnaire"
)

// Table32 is an R script that fits the published model to an export, and sets the estimates beside what was put in.
//
//go:embed table32.R
var Table32 string

// modelIntercept makes about a third of the households own a home; the published table gives none.
const modelIntercept = -1.5

// Model decides by the published model of owning a home (Coefficients, CitySD) which households own theirs.
type Model struct {
	seed   uint64
	of     *questionnaire.Derivation
	prices map[string]float64 // by city
}

// NewModel makes one that draws from a seed.
func NewModel(seed uint64) (*Model, error) {
	d, err := questionnaire.NewDerivation((&surveyv1.HouseholdDerived{}).ProtoReflect().Descriptor(), "people")
	if err != nil {
		return nil, fmt.Errorf("the model of owning a home: %w", err)
	}
	return &Model{seed: seed, of: d, prices: map[string]float64{}}, nil
}

// Decide decides anew whether the household of interview i owns its home, by the variables that the study derives of it. What
// is missing counts as nothing: such a household is left out when the model is fitted.
func (m *Model) Decide(i int, iv *surveyv1.Interview) {
	h := iv.GetHousehold()
	d := &surveyv1.HouseholdDerived{
		HouseholdId: h.HouseholdId, Cover: h.GetCover(), Members: h.GetMembers(), Housing: h.GetHousing(), Income: h.GetIncome(),
		Settlement: h.GetSettlement(), Land: h.GetLand(), Finances: h.GetFinances(), SafetyNet: h.GetSafetyNet(),
	}
	for range d.Members {
		d.People = append(d.People, &surveyv1.PersonDerived{})
	}
	top, _ := m.of.Of(d)
	x, city := map[string]float64{}, ""
	for _, v := range top {
		name := string(v.Question.Field.Name())
		switch value := v.Value.(type) {
		case string:
			if name == "survey_city" {
				city = value
			}
		case bool:
			x[name] = indicator(value)
		case int64:
			x[name] = float64(value)
		case float64:
			x[name] = value
		}
	}
	m.prices[city] = CityPrice(m.seed, city)
	x["income"], x["price"] = x["income_yuan"]/10000, m.prices[city]
	x["central"], x["western"] = indicator(x["region"] == 2), indicator(x["region"] == 3)
	eta := modelIntercept + CityIntercept(m.seed, city)
	for _, c := range Coefficients {
		eta += c.B * x[c.Name]
	}
	Own(m.seed, i, eta, iv)
}

func indicator(is bool) float64 {
	if is {
		return 1
	}
	return 0
}

// WriteCSV writes prices.csv, the median price of housing by city, and coefficients.csv, what was put in, into a folder.
func (m *Model) WriteCSV(dir string) error {
	prices, truth := [][]string{{"survey_city", "price"}}, [][]string{{"variable", "b"}}
	number := func(f float64) string { return strconv.FormatFloat(f, 'f', -1, 64) }
	for _, city := range slices.Sorted(maps.Keys(m.prices)) {
		prices = append(prices, []string{city, number(m.prices[city])})
	}
	for _, c := range Coefficients {
		truth = append(truth, []string{c.Name, number(c.B)})
	}
	truth = append(truth, []string{"city_sd", number(CitySD)})
	for name, rows := range map[string][][]string{"prices.csv": prices, "coefficients.csv": truth} {
		if err := writeRows(filepath.Join(dir, name), rows); err != nil {
			return err
		}
	}
	return nil
}

func writeRows(path string, rows [][]string) error {
	f, err := os.Create(path)
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	err = csv.NewWriter(f).WriteAll(rows)
	if closed := f.Close(); err == nil {
		err = closed
	}
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	return nil
}
