package xlsform

// expr is a node of a parsed XPath expression.
type expr interface {
	// at is where the expression begins, in characters from 0.
	at() int
}

// place is the position of a node.
type place int

func (p place) at() int { return int(p) }

// number is a number written in an expression.
type number struct {
	place
	value float64
	text  string
}

// literal is a string written in an expression.
type literal struct {
	place
	text string
}

// reference is ${name}.
type reference struct {
	place
	name string
}

// call is a function with its arguments.
type call struct {
	place
	name string
	args []expr
}

// binary is an operator between two operands: or and = != < <= > >= + - * div mod |.
type binary struct {
	place
	op          string
	left, right expr
}

// negative is -x.
type negative struct {
	place
	of expr
}

// path is a location path. from is what it begins with, nil for the context node; absolute paths begin at the root.
type path struct {
	place
	absolute bool
	from     expr
	steps    []step
}

// step is one step of a path.
type step struct {
	// name is a name, "*", "." or "..".
	name string
	// axis is "child", or what stands before "::" .
	axis string
	// deep: the step stands after //.
	deep       bool
	predicates []expr
}
