package config

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/bucketseal/bucketseal/operator/yamlfile"
)

// ErrInvalid says that a configuration cannot be used. Every error of Load,
// Parse and ParseEmbedded about a file's content is a yamlfile.Problems, and this.
var ErrInvalid = yamlfile.ErrInvalid

// maxErrors are reported at most for one file.
const maxErrors = 20

// decoder turns nodes into a Config and collects what is wrong on the way, so
// that a user sees all of it at once.
type decoder struct {
	name      string
	lookupEnv func(string) (string, bool)
	errs      yamlfile.Problems
	warnings  []Warning
}

// node is a part of the file: aliases followed, merges done.
type node = yamlfile.Node

// fields are a mapping's known keys and what to do with their values.
type fields map[string]func(*node)

func (d *decoder) errorf(n *node, format string, args ...any) {
	if len(d.errs) < maxErrors {
		d.errs.Add(yamlfile.Place{Name: d.name, Line: n.Line, Column: n.Column}, "", format, args...)
	}
}

func (d *decoder) warnf(n *node, format string, args ...any) {
	d.warnings = append(d.warnings, Warning{Line: n.Line, Text: fmt.Sprintf(format, args...)})
}

// kindOf says what a node is, as messages do.
func kindOf(n *node) string {
	switch n.Kind {
	case yamlfile.Null:
		return "nothing"
	case yamlfile.Mapping:
		return "a mapping"
	case yamlfile.List:
		return "a list"
	}
	return "a single value"
}

func (d *decoder) deprecated(n *node, old, current string) {
	d.warnf(n, "%s is deprecated; write %s", old, current)
}

// mapping calls the function of every key. Unknown keys are errors: a setting
// that is misspelt must not be a setting that is ignored. Nothing is an empty
// mapping.
func (d *decoder) mapping(n *node, what string, known fields) {
	if n.Kind == yamlfile.Null {
		return
	}
	if n.Kind != yamlfile.Mapping {
		d.errorf(n, "%s: a mapping is expected, not %s", what, kindOf(n))
		return
	}
	for _, f := range n.Fields {
		decode, ok := known[f.Key.Text]
		if !ok {
			d.errorf(f.Key, "%s: unknown key %q; %s", what, f.Key.Text, suggest(f.Key.Text, known))
			continue
		}
		decode(f.Value)
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
	if !n.IsScalar() && n.Kind != yamlfile.Null {
		d.errorf(n, "a single value is expected, not %s", kindOf(n))
		return ""
	}
	return n.Text
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
	name, ok = yamlfile.Variable(text)
	name = strings.TrimSpace(name)
	return name, ok && name != ""
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
	if value == "" && n.Field(key) == nil {
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
	switch n.Kind {
	case yamlfile.Null:
	case yamlfile.List:
		for _, item := range n.Items {
			each(item)
		}
	default:
		d.errorf(n, "%s: a list is expected, not %s", what, kindOf(n))
	}
}

func (d *decoder) texts(n *node, what string) []string {
	var out []string
	d.list(n, what, func(v *node) { out = append(out, d.required(v, what)) })
	return out
}

func (d *decoder) stringMap(n *node, what string) map[string]string {
	if n.Kind != yamlfile.Mapping && n.Kind != yamlfile.Null {
		d.errorf(n, "%s: a mapping is expected, not %s", what, kindOf(n))
		return nil
	}
	out := make(map[string]string, len(n.Fields))
	for _, f := range n.Fields {
		out[f.Key.Text] = d.text(f.Value)
	}
	return out
}
