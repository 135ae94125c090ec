package config

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// ErrInvalid says that a configuration cannot be used. Every error of Load,
// Parse and ParseEmbedded about a file's content wraps it.
var ErrInvalid = errors.New("invalid key service configuration")

// Error is one thing that is wrong, and where. It quotes no secret.
type Error struct {
	Name         string
	Line, Column int
	Text         string
}

// Error returns "FILE:LINE:COLUMN: text".
func (e *Error) Error() string { return fmt.Sprintf("%s:%d:%d: %s", e.Name, e.Line, e.Column, e.Text) }

// Unwrap returns ErrInvalid.
func (*Error) Unwrap() error { return ErrInvalid }

// maxErrors are reported at most for one file.
const maxErrors = 20

// decoder turns nodes into a Config and collects what is wrong on the way, so
// that a user sees all of it at once.
type decoder struct {
	name      string
	lookupEnv func(string) (string, bool)
	errs      []error
	warnings  []Warning
}

// fields are a mapping's known keys and what to do with their values.
type fields map[string]func(*node)

func (d *decoder) errorf(n *node, format string, args ...any) {
	d.fail(n.line, n.column, fmt.Sprintf(format, args...))
}

func (d *decoder) fail(line, column int, text string) {
	if len(d.errs) < maxErrors {
		d.errs = append(d.errs, &Error{Name: d.name, Line: line, Column: column, Text: text})
	}
}

func (d *decoder) warnf(n *node, format string, args ...any) {
	d.warnings = append(d.warnings, Warning{Line: n.line, Text: fmt.Sprintf(format, args...)})
}

func (d *decoder) deprecated(n *node, old, current string) {
	d.warnf(n, "%s is deprecated; write %s", old, current)
}

// mapping calls the function of every key. Unknown keys are errors: a setting
// that is misspelt must not be a setting that is ignored. Nothing is an empty
// mapping.
func (d *decoder) mapping(n *node, what string, known fields) {
	if n.kind == null {
		return
	}
	if n.kind != mapping {
		d.errorf(n, "%s: a mapping is expected, not %s", what, n.kind)
		return
	}
	for _, f := range n.fields {
		decode, ok := known[f.key.text]
		if !ok {
			d.errorf(f.key, "%s: unknown key %q; %s", what, f.key.text, suggest(f.key.text, known))
			continue
		}
		decode(f.value)
	}
}

func suggest(key string, known fields) string {
	if key == "upstream" || key == "credentials" || key == "auto_encryption" {
		if _, server := known["keystore"]; server {
			return "this is a setting of the proxy, in a key server's file: is it the file of bucketseal server?"
		}
	}
	names := make([]string, 0, len(known))
	for name := range known {
		if strings.EqualFold(name, key) {
			return fmt.Sprintf("write %s", name)
		}
		names = append(names, name)
	}
	if len(names) == 0 {
		return "nothing can be set here"
	}
	slices.Sort(names)
	return "known are " + strings.Join(names, ", ")
}

// raw returns a scalar as it is written; nothing is the empty text.
func (d *decoder) raw(n *node) string {
	if n.kind != scalar && n.kind != null {
		d.errorf(n, "a single value is expected, not %s", n.kind)
		return ""
	}
	return n.text
}

// text returns a scalar; one that is wholly ${NAME} is replaced by that
// environment variable.
func (d *decoder) text(n *node) string {
	text := d.raw(n)
	name, ok := reference(text)
	if !ok {
		return text
	}
	value, ok := d.lookupEnv(name)
	if !ok {
		d.errorf(n, "environment variable %s is not set; set it, or write the value here", name)
		return ""
	}
	return value
}

// reference returns NAME of a text that is nothing but ${NAME}.
func reference(text string) (name string, ok bool) {
	text = strings.TrimSpace(text)
	if !strings.HasPrefix(text, "${") || !strings.HasSuffix(text, "}") {
		return "", false
	}
	name = strings.TrimSpace(text[2 : len(text)-1])
	return name, name != "" && !strings.ContainsAny(name, "${}")
}

// required is text that must not be empty.
func (d *decoder) required(n *node, what string) string {
	failed := len(d.errs)
	text := d.text(n)
	if text == "" && len(d.errs) == failed {
		if name, ok := reference(d.raw(n)); ok {
			d.errorf(n, "%s is empty, because the environment variable %s is; give it a value", what, name)
			return text
		}
		d.errorf(n, "%s is empty; give it a value", what)
	}
	return text
}

// need reports a setting that is absent. One that is there and empty has been
// reported by required.
func (d *decoder) need(n *node, value, text string) {
	key, _, _ := strings.Cut(text, ":")
	key = key[strings.LastIndexByte(key, '.')+1:]
	if value == "" && n.field(key) == nil {
		d.errorf(n, "%s", text)
	}
}

func (d *decoder) boolean(n *node, what string) bool {
	switch strings.ToLower(d.text(n)) {
	case "true", "on", "yes":
		return true
	case "false", "off", "no", "":
		return false
	}
	d.errorf(n, "%s: write true or false", what)
	return false
}

func (d *decoder) integer(n *node, what string, low, high int) int {
	value, err := strconv.Atoi(d.text(n))
	if err != nil || value < low || value > high {
		d.errorf(n, "%s: a whole number from %d to %d is expected", what, low, high)
		return 0
	}
	return value
}

// list calls each for every item. Nothing is the empty list.
func (d *decoder) list(n *node, what string, each func(*node)) {
	switch n.kind {
	case null:
	case sequence:
		for _, item := range n.items {
			each(item)
		}
	default:
		d.errorf(n, "%s: a list is expected, not %s", what, n.kind)
	}
}

func (d *decoder) texts(n *node, what string) []string {
	var out []string
	d.list(n, what, func(v *node) { out = append(out, d.required(v, what)) })
	return out
}

func (d *decoder) stringMap(n *node, what string) map[string]string {
	if n.kind != mapping && n.kind != null {
		d.errorf(n, "%s: a mapping is expected, not %s", what, n.kind)
		return nil
	}
	out := make(map[string]string, len(n.fields))
	for _, f := range n.fields {
		out[f.key.text] = d.text(f.value)
	}
	return out
}
