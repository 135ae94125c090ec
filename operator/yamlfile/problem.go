package yamlfile

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// ErrInvalid says that a configuration cannot be used as it is. The error is then
// a Problems.
var ErrInvalid = errors.New("invalid configuration")

// Place is where a value comes from: a place in a file, or something else that has
// a name, such as a flag.
type Place struct {
	Name string
	// Line and Column count from 1; 0 outside a file.
	Line, Column int
}

// String returns NAME:LINE:COLUMN, or NAME alone.
func (p Place) String() string {
	if p.Line == 0 {
		return p.Name
	}
	return fmt.Sprintf("%s:%d:%d", p.Name, p.Line, p.Column)
}

// Problem is one thing that is wrong, and where.
type Problem struct {
	// Place has no name if what is missing could stand in several.
	Place
	// Setting is the setting's name, as in "upstream.endpoint"; "" for a mistake in
	// the file's form, or if Text names it.
	Setting string
	// Text says what is wrong and what to do. It holds no secret.
	Text string
}

// Error returns place, setting and text in one line.
func (p *Problem) Error() string {
	var parts []string
	for _, part := range []string{p.Place.String(), p.Setting, p.Text} {
		if part != "" {
			parts = append(parts, part)
		}
	}
	return strings.Join(parts, ": ")
}

// Problems is everything that is wrong with a configuration.
type Problems []*Problem

// Error returns one line for each.
func (p Problems) Error() string {
	lines := make([]string, len(p))
	for i, one := range p {
		lines[i] = one.Error()
	}
	return strings.Join(lines, "\n")
}

// Is makes every Problems an ErrInvalid.
func (Problems) Is(target error) bool { return target == ErrInvalid }

// Add appends a problem.
func (p *Problems) Add(at Place, setting, format string, args ...any) {
	*p = append(*p, &Problem{Place: at, Setting: setting, Text: fmt.Sprintf(format, args...)})
}

// About says whether a setting, or one below it, is wrong already.
func (p Problems) About(setting string) bool {
	return slices.ContainsFunc(p, func(one *Problem) bool {
		return one.Setting == setting || strings.HasPrefix(one.Setting, setting+".")
	})
}

// Err returns the problems in the order in which they were added, or nil.
func (p Problems) Err() error {
	if len(p) == 0 {
		return nil
	}
	return p
}

// Sort puts the problems into the order of the file.
func (p Problems) Sort() {
	slices.SortStableFunc(p, func(a, b *Problem) int {
		if a.Line != b.Line {
			return a.Line - b.Line
		}
		return a.Column - b.Column
	})
}
