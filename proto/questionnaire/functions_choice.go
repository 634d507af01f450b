package questionnaire

import (
	"cel.dev/cel-go/cel"
)

// choiceFunctions declares the functions that ask choice lists.
func choiceFunctions(l choiceLists) []cel.EnvOption {
	return []cel.EnvOption{
		cel.Function("choice_name", fn2("choice_name", func(list string, n int64) (string, error) { return found(l.choiceName(list, n)) })),
		cel.Function("choice_label",
			fn2("choice_label", func(list string, n int64) (string, error) { return found(l.choiceLabel(list, n, "")) }),
			fn3("choice_label", func(list string, n int64, lang string) (string, error) { return found(l.choiceLabel(list, n, lang)) })),
		cel.Function("choice_number", fn2("choice_number", func(list, name string) (int64, error) { return found(l.choiceNumber(list, name)) })),
		cel.Function("choice_column", fn3("choice_column", func(list string, n int64, column string) (string, error) {
			return found(l.choiceColumn(list, n, column))
		})),
		cel.Function("lookup", fn4("lookup", func(table, column, keyColumn, key string) (string, error) {
			return found(l.lookup(table, column, keyColumn, key))
		})),
	}
}

// found is a value that is there.
func found[T any](x T, ok bool) (T, error) {
	if !ok {
		var none T
		return none, errNoAnswer
	}
	return x, nil
}
