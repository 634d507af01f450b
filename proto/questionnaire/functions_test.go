package questionnaire

import (
	"encoding/json"
	"errors"
	"os"
	"strconv"
	"strings"
	"testing"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
	"cel.dev/cel-go/common/types/traits"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	surveyv1 "github.com/hearth-survey/hearth/proto/hearth/survey/v1"
)

// functionTable is testdata/functions.json, which the TypeScript library is held to as well.
type functionTable struct {
	Rows []struct {
		Expression string
		Gives      string
		P, A, B    json.RawMessage
	}
	Numbers    []string            // as ECMAScript writes them
	LunarYears [][]json.RawMessage `json:"lunar_years"` // year, its first day, its leap month, the first day of that
}

func readFunctionTable(t testing.TB) functionTable {
	t.Helper()
	data, err := os.ReadFile("testdata/functions.json")
	if err != nil {
		t.Fatal(err)
	}
	var table functionTable
	if err := json.Unmarshal(data, &table); err != nil {
		t.Fatal(err)
	}
	return table
}

// crops is a choice table for the functions that ask one.
type crops struct{}

var cropRows = []map[string]string{
	{"number": "1", "name": "rice", "label": "Rice", "label zh": "水稻", "season": "summer"},
	{"number": "2", "name": "maize", "label": "Maize", "label zh": "玉米", "season": "autumn"},
}

func (crops) column(list, key, value, column string) (string, bool) {
	for _, row := range cropRows {
		if list == "crops" && row[key] == value {
			out, ok := row[column]
			return out, ok
		}
	}
	return "", false
}

func (c crops) choiceName(list string, n int64) (string, bool) {
	return c.column(list, "number", strconv.FormatInt(n, 10), "name")
}

func (c crops) choiceLabel(list string, n int64, lang string) (string, bool) {
	if out, ok := c.column(list, "number", strconv.FormatInt(n, 10), "label "+lang); ok {
		return out, true
	}
	return c.column(list, "number", strconv.FormatInt(n, 10), "label")
}

func (c crops) choiceNumber(list, name string) (int64, bool) {
	out, ok := c.column(list, "name", name, "number")
	n, _ := strconv.ParseInt(out, 10, 64)
	return n, ok
}

func (c crops) choiceColumn(list string, n int64, column string) (string, bool) {
	return c.column(list, "number", strconv.FormatInt(n, 10), column)
}

func (c crops) lookup(table, column, keyColumn, key string) (string, bool) {
	return c.column(table, keyColumn, key, column)
}

func functionEnv(t testing.TB) *cel.Env {
	t.Helper()
	options := append(functions(crops{}), cel.Types(&surveyv1.PartialDate{}, &surveyv1.GeoPoint{}),
		cel.Variable("p", cel.ObjectType("hearth.survey.v1.PartialDate")),
		cel.Variable("a", cel.ObjectType("hearth.survey.v1.GeoPoint")), cel.Variable("b", cel.ObjectType("hearth.survey.v1.GeoPoint")))
	env, err := cel.NewEnv(options...)
	if err != nil {
		t.Fatal(err)
	}
	return env
}

// given evaluates an expression and writes its value as an expression that has it; "no answer" and "failure" otherwise.
func given(t *testing.T, env *cel.Env, expression string, vars map[string]any) string {
	t.Helper()
	ast, issues := env.Compile(expression)
	if issues.Err() != nil {
		t.Fatalf("%s: %v", expression, issues.Err())
	}
	program, err := env.Program(ast)
	if err != nil {
		t.Fatalf("%s: %v", expression, err)
	}
	out, _, err := program.Eval(vars)
	if errors.Is(err, errNoAnswer) {
		return "no answer"
	}
	if err != nil {
		return "failure"
	}
	return written(out)
}

func written(v ref.Val) string {
	switch v := v.(type) {
	case types.String:
		var out strings.Builder
		encoder := json.NewEncoder(&out)
		encoder.SetEscapeHTML(false)
		_ = encoder.Encode(string(v))
		return strings.TrimSpace(out.String())
	case types.Double:
		out := numberText(float64(v))
		if !strings.ContainsAny(out, ".eIN") {
			out += ".0"
		}
		return out
	case traits.Lister:
		var items []string
		for i := types.Int(0); i < v.Size().(types.Int); i++ {
			items = append(items, written(v.Get(i)))
		}
		return "[" + strings.Join(items, ", ") + "]"
	case types.Int:
		return strconv.FormatInt(int64(v), 10)
	case types.Bool:
		return strconv.FormatBool(bool(v))
	}
	return "?"
}

func TestFunctions(t *testing.T) {
	env := functionEnv(t)
	table := readFunctionTable(t)
	called := map[string]bool{}
	for _, row := range table.Rows {
		vars := map[string]any{}
		for name, from := range map[string]struct {
			json json.RawMessage
			to   proto.Message
		}{"p": {row.P, &surveyv1.PartialDate{}}, "a": {row.A, &surveyv1.GeoPoint{}}, "b": {row.B, &surveyv1.GeoPoint{}}} {
			if from.json != nil {
				if err := protojson.Unmarshal(from.json, from.to); err != nil {
					t.Fatal(err)
				}
			}
			vars[name] = from.to
		}
		if got := given(t, env, row.Expression, vars); got != row.Gives {
			t.Errorf("%s gives %s, want %s (p %s a %s b %s)", row.Expression, got, row.Gives, row.P, row.A, row.B)
		}
		name, _, _ := strings.Cut(row.Expression, "(")
		called[name] = true
	}
	// Every function that is declared stands in the table.
	for name := range env.Functions() {
		ours := false
		for _, o := range env.Functions()[name].OverloadDecls() {
			ours = ours || strings.HasPrefix(o.ID(), "hearth_")
		}
		if ours && !called[name] {
			t.Errorf("testdata/functions.json has no row for %s", name)
		}
	}
	if len(called) < 45 {
		t.Errorf("only %d functions in the table", len(called))
	}
}

func TestNumbersAsECMAScriptWritesThem(t *testing.T) {
	for _, s := range readFunctionTable(t).Numbers {
		x, err := numberOfText(s)
		if err != nil {
			t.Fatal(s, err)
		}
		if got := numberText(x); got != s {
			t.Errorf("%s is written %s", s, got)
		}
	}
}

// TestLunarYears compares the table of lunar years with dates that another program computed from the positions of sun
// and moon, and walks through every day.
func TestLunarYears(t *testing.T) {
	table := readFunctionTable(t)
	if len(table.LunarYears) != len(lunarYears) {
		t.Fatalf("%d years, want %d", len(table.LunarYears), len(lunarYears))
	}
	for _, row := range table.LunarYears {
		var year, leap int64
		var first, leapFirst string
		to := []any{&year, &first, &leap, &leapFirst}
		for i, x := range row {
			if err := json.Unmarshal(x, to[i]); err != nil {
				t.Fatal(err)
			}
		}
		if got, err := lunarToSolar(year, 1, 1, false); got != first {
			t.Errorf("lunar year %d begins on %s, want %s: %v", year, got, first, err)
		}
		for month := int64(1); month <= 12; month++ {
			got, err := lunarToSolar(year, month, 1, true)
			if month == leap && got != leapFirst || month != leap && !errors.Is(err, errNoAnswer) {
				t.Errorf("leap month %d of %d begins on %q, want %q: %v", month, year, got, leapFirst, err)
			}
		}
	}
	for n := int64(firstLunarDay); n < lunarYearStart[len(lunarYears)]; n++ {
		solar, _ := dayOfNumber(n)
		lunar, err := solarToLunar(solar.String())
		if err != nil {
			t.Fatal(solar, err)
		}
		part := strings.Split(lunar, "-")
		month, leap := strings.CutSuffix(part[1], "+")
		if back, err := lunarToSolar(int64(wholeOf(part[0])), int64(wholeOf(month)), int64(wholeOf(part[2])), leap); back != solar.String() {
			t.Fatalf("%s is lunar %s, which is %s: %v", solar, lunar, back, err)
		}
	}
}

// TestVolatile finds the volatile functions to be variables, which no expression can name itself.
func TestVolatile(t *testing.T) {
	env := functionEnv(t)
	vars := map[string]any{varNow: "2016-07-21T18:05:00+08:00", varToday: "2016-07-21", varRandom: 0.25, varUUID: "u", varHeld: false, varAnswer: nil}
	for expression, want := range map[string]string{
		"now()": `"2016-07-21T18:05:00+08:00"`, "today()": `"2016-07-21"`, "random() * 2.0": "0.5", "uuid()": `"u"`, "once(3)": "3",
	} {
		if got := given(t, env, expression, vars); got != want {
			t.Errorf("%s gives %s, want %s", expression, got, want)
		}
	}
	vars[varHeld], vars[varAnswer] = true, int64(7)
	if got := given(t, env, "once(3)", vars); got != "7" {
		t.Errorf("once(3) gives %s where the field holds 7", got)
	}
	if _, issues := env.Compile("@now"); issues.Err() == nil {
		t.Error("an expression can name @now")
	}
}

// TestNoAnswerGoesThrough reads a field that is not set: every function passes it on, but for those that stand beside it.
func TestNoAnswerGoesThrough(t *testing.T) {
	env := functionEnv(t)
	unset := "number(\"x\")" // no answer
	for _, expression := range []string{"round(" + unset + ", 1)", "text(" + unset + ")", unset + " + 1.0 > 2.0", "[" + unset + "].exists(v, v > 1.0)"} {
		if got := given(t, env, expression, map[string]any{}); got != "no answer" {
			t.Errorf("%s gives %s", expression, got)
		}
	}
	for expression, want := range map[string]string{"false && " + unset + " > 1.0": "false", unset + " > 1.0 || true": "true"} {
		if got := given(t, env, expression, map[string]any{}); got != want {
			t.Errorf("%s gives %s", expression, got)
		}
	}
}
