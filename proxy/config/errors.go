package config

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// Sentinels.
var (
	// ErrInvalid says that the configuration cannot be used as it is. The error
	// is then an Errors, which lists everything that is wrong.
	ErrInvalid = errors.New("invalid configuration")
	// ErrUnreadable says that the configuration file cannot be read.
	ErrUnreadable = errors.New("cannot read the configuration")
)

// origin is where a value comes from: a place in the file, or a flag or variable.
type origin struct {
	name         string // file, --flag or VARIABLE
	line, column int    // counted from 1; 0 outside the file
}

func (o origin) String() string {
	if o.line == 0 {
		return o.name
	}
	return fmt.Sprintf("%s:%d:%d", o.name, o.line, o.column)
}

// Error is one thing that is wrong.
type Error struct {
	// Source is the file, the flag or the variable; "" if what is missing could
	// stand in any of them.
	Source string
	// Line and Column count from 1; 0 outside a file.
	Line, Column int
	// Setting is the setting's name, as in "upstream.endpoint"; "" for a mistake
	// in the file's form.
	Setting string
	// Problem says what is wrong and what to do. It holds no secret.
	Problem string
}

// Error returns place, setting and problem in one line.
func (e *Error) Error() string {
	var b strings.Builder
	if e.Source != "" {
		b.WriteString(origin{e.Source, e.Line, e.Column}.String())
		b.WriteString(": ")
	}
	if e.Setting != "" {
		b.WriteString(e.Setting)
		b.WriteString(": ")
	}
	b.WriteString(e.Problem)
	return b.String()
}

// Errors is everything that is wrong, in the order of the file.
type Errors []*Error

// Error returns one line for each.
func (e Errors) Error() string {
	lines := make([]string, len(e))
	for i, one := range e {
		lines[i] = one.Error()
	}
	return strings.Join(lines, "\n")
}

// Is makes every Errors an ErrInvalid.
func (e Errors) Is(target error) bool { return target == ErrInvalid }

func (e *Errors) add(at origin, setting, format string, args ...any) {
	*e = append(*e, &Error{Source: at.name, Line: at.line, Column: at.column, Setting: setting, Problem: fmt.Sprintf(format, args...)})
}

// about says whether a setting, or one below it, is wrong already.
func (e Errors) about(setting string) bool {
	return slices.ContainsFunc(e, func(one *Error) bool {
		return one.Setting == setting || strings.HasPrefix(one.Setting, setting+".")
	})
}

// err returns the errors sorted, or nil.
func (e Errors) err() error {
	if len(e) == 0 {
		return nil
	}
	slices.SortStableFunc(e, func(a, b *Error) int {
		if a.Line != b.Line {
			return a.Line - b.Line
		}
		return a.Column - b.Column
	})
	return e
}
