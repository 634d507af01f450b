package xlsform

import (
	"fmt"
	"strings"
	"unicode"
)

// tokenKind is the kind of a token.
type tokenKind uint8

const (
	tokenEnd tokenKind = iota
	tokenName
	tokenNumber
	tokenString
	tokenReference
	tokenSymbol
	tokenOperator
)

// token is a word of an expression.
type token struct {
	kind tokenKind
	text string
	at   int
}

// syntaxError is an expression that is not XPath.
type syntaxError struct {
	at   int
	what string
}

func (e *syntaxError) Error() string { return fmt.Sprintf("character %d: %s", e.at+1, e.what) }

// straighten replaces the quotation marks of word processors, which spreadsheets like to put in, and spaces that do not
// break. It changes no position.
func straighten(s string) string {
	return strings.Map(func(r rune) rune {
		switch r {
		case '‘', '’', '‚', '‛':
			return '\''
		case '“', '”', '„', '‟':
			return '"'
		case '\u00a0', '\u202f', '\u2007', '\ufeff':
			return ' '
		}
		return r
	}, s)
}

// lexer splits an expression into tokens.
type lexer struct {
	src    []rune
	pos    int
	tokens []token
}

const maxExpression = 32_767 // characters in a cell

// tokenize splits an expression.
func tokenize(src string) ([]token, error) {
	l := &lexer{src: []rune(src)}
	if len(l.src) > maxExpression {
		return nil, &syntaxError{0, "the expression is longer than a cell can be"}
	}
	for l.pos < len(l.src) {
		if unicode.IsSpace(l.src[l.pos]) {
			l.pos++
			continue
		}
		if err := l.next(); err != nil {
			return nil, err
		}
	}
	return append(l.tokens, token{tokenEnd, "", len(l.src)}), nil
}

func (l *lexer) add(kind tokenKind, text string, at int) {
	l.tokens = append(l.tokens, token{kind, text, at})
}

// operand tells whether the last token ends an operand, so that a name or * after it is an operator.
func (l *lexer) operand() bool {
	if len(l.tokens) == 0 {
		return false
	}
	switch t := l.tokens[len(l.tokens)-1]; t.kind {
	case tokenName, tokenNumber, tokenString, tokenReference:
		return true
	case tokenSymbol:
		return t.text == ")" || t.text == "]" || t.text == "." || t.text == ".." || t.text == "*"
	}
	return false
}

func (l *lexer) peek(i int) rune {
	if l.pos+i < len(l.src) {
		return l.src[l.pos+i]
	}
	return 0
}

func digit(r rune) bool { return r >= '0' && r <= '9' }

func nameStart(r rune) bool { return r == '_' || unicode.IsLetter(r) }

func nameRune(r rune) bool {
	return r == '_' || r == '-' || r == '.' || unicode.IsLetter(r) || unicode.IsDigit(r) || unicode.Is(unicode.Mn, r)
}

// next reads one token that is no space.
func (l *lexer) next() error {
	at, r := l.pos, l.src[l.pos]
	switch {
	case r == '$' && l.peek(1) == '{':
		return l.reference()
	case r == '"' || r == '\'':
		end := at + 1
		for end < len(l.src) && l.src[end] != r {
			end++
		}
		if end == len(l.src) {
			return &syntaxError{at, fmt.Sprintf("the text that begins with %c has no end", r)}
		}
		l.add(tokenString, string(l.src[at+1:end]), at)
		l.pos = end + 1
	case digit(r) || r == '.' && digit(l.peek(1)):
		l.number()
	case nameStart(r):
		l.name()
	default:
		return l.symbol()
	}
	return nil
}

// reference reads ${name}.
func (l *lexer) reference() error {
	at := l.pos
	end := at + 2
	for end < len(l.src) && l.src[end] != '}' {
		end++
	}
	if end == len(l.src) {
		return &syntaxError{at, "${ has no closing }"}
	}
	name := strings.TrimSpace(string(l.src[at+2 : end]))
	if name == "" {
		return &syntaxError{at, "${} names no question"}
	}
	l.add(tokenReference, name, at)
	l.pos = end + 1
	return nil
}

// number reads digits with a decimal point, and an exponent, which XPath has not and authors write.
func (l *lexer) number() {
	at := l.pos
	for digit(l.peek(0)) {
		l.pos++
	}
	if l.peek(0) == '.' {
		l.pos++
		for digit(l.peek(0)) {
			l.pos++
		}
	}
	l.add(tokenNumber, string(l.src[at:l.pos]), at)
}

// name reads a name, with a prefix before ":" if it has one, or an operator that is written as a name.
func (l *lexer) name() {
	at := l.pos
	l.skipName()
	if l.peek(0) == ':' && nameStart(l.peek(1)) {
		l.pos++
		l.skipName()
	}
	text := string(l.src[at:l.pos])
	if l.operand() {
		switch text {
		case "and", "or", "div", "mod":
			l.add(tokenOperator, text, at)
			return
		}
	}
	l.add(tokenName, text, at)
}

func (l *lexer) skipName() {
	for nameRune(l.peek(0)) {
		l.pos++
	}
	// A full stop at the end belongs to what follows.
	for l.pos > 0 && l.src[l.pos-1] == '.' {
		l.pos--
	}
}

// symbol reads punctuation.
func (l *lexer) symbol() error {
	at := l.pos
	two := string(l.peek(0)) + string(l.peek(1))
	switch two {
	case "!=", "<=", ">=":
		l.add(tokenOperator, two, at)
		l.pos += 2
		return nil
	case "==":
		return &syntaxError{at, "XPath has no ==; write = instead"}
	case "&&", "||":
		return &syntaxError{at, "XPath has no " + two + "; write and, or"}
	case "<>":
		return &syntaxError{at, "XPath has no <>; write != instead"}
	case "..", "::", "//":
		l.add(tokenSymbol, two, at)
		l.pos += 2
		return nil
	}
	r := l.src[at]
	l.pos++
	switch r {
	case '=', '<', '>', '+', '|':
		l.add(tokenOperator, string(r), at)
	case '-', '−', '–':
		l.add(tokenOperator, "-", at)
	case '≤':
		l.add(tokenOperator, "<=", at)
	case '≥':
		l.add(tokenOperator, ">=", at)
	case '≠':
		l.add(tokenOperator, "!=", at)
	case '*':
		kind := tokenSymbol
		if l.operand() {
			kind = tokenOperator
		}
		l.add(kind, "*", at)
	case '(', ')', '[', ']', ',', '.', '/', '@':
		l.add(tokenSymbol, string(r), at)
	default:
		return &syntaxError{at, fmt.Sprintf("%q means nothing here", r)}
	}
	return nil
}
