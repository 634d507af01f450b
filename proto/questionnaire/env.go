package questionnaire

import "cel.dev/cel-go/cel"

// Functions are the functions of section 5 of LANGUAGE.md for cel-go, for a program that carries out parts of the
// questionnaire's expressions by itself. now(), today(), random(), uuid() and once(x) read the variables @now, @today,
// @random, @uuid, @held and @answer.
func (q *Questionnaire) Functions() []cel.EnvOption { return functions(q.lists) }
