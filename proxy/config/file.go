package config

import (
	"bytes"
	"cmp"
	"errors"
	"path/filepath"
	"regexp"
	"strings"
	"unicode/utf8"

	"github.com/bucketseal/bucketseal/operator/yamlfile"
)

// maxFile bounds the file's size in bytes; a configuration is never that long.
const maxFile = 256 << 10

// fileReader fills a Config from a YAML document. It knows the document's form
// from the table of settings.
type fileReader struct {
	file   string // as in messages
	dir    string // relative paths start here
	source yamlfile.Source
	lookup func(string) (string, bool)

	settings map[string]Setting
	sections map[string]bool // paths that have settings below them
	config   *Config
	errs     *yamlfile.Problems
}

func newFileReader(c *Config, file string, lookup func(string) (string, bool), errs *yamlfile.Problems) *fileReader {
	r := &fileReader{
		file: file, dir: filepath.Dir(file), lookup: lookup, config: c, errs: errs,
		settings: make(map[string]Setting), sections: map[string]bool{"": true},
	}
	for _, s := range Settings() {
		r.settings[s.Path] = s
		for i, b := range []byte(s.Path) {
			if b == '.' {
				r.sections[s.Path[:i]] = true
			}
		}
	}
	return r
}

// read parses the document and sets everything in it.
func (r *fileReader) read(file []byte) {
	if len(file) > maxFile {
		r.errs.Add(r.place(), "", "the file has %d bytes; a configuration has at most %d", len(file), maxFile)
		return
	}
	if !utf8.Valid(file) || bytes.IndexByte(file, 0) >= 0 {
		r.errs.Add(r.place(), "", "the file is no UTF-8 text: it may have been cut while it was written")
		return
	}
	r.source = yamlfile.NewSource(file)
	root, err := r.source.Parse(yamlfile.Plain)
	if s, wrong := errors.AsType[*yamlfile.SyntaxError](err); wrong {
		r.syntaxError(s)
		return
	}
	r.section("", root)
}

// syntaxError adds what is wrong with the YAML. The parser's message comes without
// the excerpt that it would print, which may show a secret.
func (r *fileReader) syntaxError(s *yamlfile.SyntaxError) {
	at := yamlfile.Place{Name: r.file, Line: s.Line, Column: s.Column}
	switch {
	case errors.Is(s, yamlfile.ErrSecondDocument):
		r.errs.Add(at, "", "the file holds a second YAML document; put everything in one")
		return
	case errors.Is(s, yamlfile.ErrTooDeep):
		r.errs.Add(at, "", "not YAML: %v", s)
		return
	}
	message := cmp.Or(s.Parser, "this cannot be parsed as YAML")
	hint := ""
	if line := r.source.Line(s.Line); strings.Contains(line, "${") && strings.ContainsAny(line, "{[") {
		hint = `; inside { } and [ ] put quotes around a variable: "${NAME}"`
	}
	r.errs.Add(at, "", "not YAML: %s%s", message, hint)
}

// place is the file as a whole.
func (r *fileReader) place() yamlfile.Place { return yamlfile.Place{Name: r.file} }

// at returns where a node begins.
func (r *fileReader) at(n *yamlfile.Node) yamlfile.Place {
	return yamlfile.Place{Name: r.file, Line: n.Line, Column: n.Column}
}

// section reads a mapping whose settings begin with path.
func (r *fileReader) section(path string, n *yamlfile.Node) {
	if n.Kind == yamlfile.Null { // everything in it is commented out
		return
	}
	entries, ok := r.entries(path, n)
	if !ok {
		return
	}
	for _, e := range entries {
		full := join(path, e.name)
		r.config.origin[full] = e.at
		switch s, known := r.settings[full]; {
		case known:
			r.setting(s, e)
		case full == "credentials":
			r.credentials(e)
		case full == "access.rules":
			r.accessRules(e)
		case full == "kms":
			r.kms(e)
		case r.sections[full]:
			r.section(full, e.value)
		default:
			r.unknown(path, e)
		}
	}
}

// entry is a key of a mapping and its value.
type entry struct {
	name       string
	at         yamlfile.Place
	key, value *yamlfile.Node
}

// entries returns a mapping's entries; what is wrong with its form is an error.
func (r *fileReader) entries(path string, n *yamlfile.Node) ([]entry, bool) {
	if n.Kind != yamlfile.Mapping {
		if path == "" {
			r.errs.Add(r.at(n), "", "the file holds %s; it must hold settings, as in \"address: :8080\"", kindOf(n))
		} else {
			r.errs.Add(r.at(n), path, "this is %s; it must be a section with settings of its own", kindOf(n))
		}
		return nil, false
	}
	var all []entry
	first := make(map[string]yamlfile.Place)
	for _, f := range n.Fields {
		at, name := r.at(f.Key), f.Key.Text
		if f.Key.Kind != yamlfile.Text {
			r.errs.Add(at, path, "this is no setting's name; anchors, merges and complex keys are not supported")
			continue
		}
		if before, twice := first[name]; twice {
			r.errs.Add(at, join(path, name), "this is given twice, first in line %d; remove one", before.Line)
			continue
		}
		first[name] = at
		all = append(all, entry{name, at, f.Key, f.Value})
	}
	return all, true
}

func join(path, name string) string {
	if path == "" {
		return name
	}
	return path + "." + name
}

// kindOf says what a node is, as messages do.
func kindOf(n *yamlfile.Node) string {
	switch n.Kind {
	case yamlfile.Mapping:
		return "a section"
	case yamlfile.List:
		return "a list"
	case yamlfile.Null:
		return "empty"
	case yamlfile.Integer, yamlfile.Float:
		return "a number"
	case yamlfile.Bool:
		return "a boolean"
	case yamlfile.Text:
		return "text"
	case yamlfile.Alias:
		return "an anchor or alias, which is not supported"
	case yamlfile.Tagged:
		return "a tagged value, which is not supported"
	}
	return "of a kind that is not supported"
}

// setting reads the value of one setting.
func (r *fileReader) setting(s Setting, e entry) {
	var values []string
	at := r.at(e.value)
	if s.Type == TypeList {
		if e.value.Kind != yamlfile.List {
			r.errs.Add(at, s.Path, "this is %s; it must be a list: [A, B], or a line with \"- A\" for each", kindOf(e.value))
			return
		}
		for _, item := range e.value.Items {
			v, ok := r.scalar(s.Path, TypeString, item)
			if !ok {
				return
			}
			values = append(values, v)
		}
	} else {
		v, ok := r.scalar(s.Path, s.Type, e.value)
		if !ok {
			return
		}
		if s.Type == TypeFile {
			v = r.path(v)
		}
		values = []string{v}
	}
	if err := s.apply(r.config, values); err != nil {
		r.errs.Add(at, s.Path, "%v", err)
		return
	}
	r.config.origin[s.Path] = at
}

// path makes a relative path one from the file's folder.
func (r *fileReader) path(p string) string {
	if p == "" || filepath.IsAbs(p) {
		return p
	}
	return filepath.Join(r.dir, p)
}

// scalar returns the text of a scalar. A text that is wholly ${NAME} stands for
// that variable.
func (r *fileReader) scalar(path string, typ Type, n *yamlfile.Node) (string, bool) {
	at := r.at(n)
	switch n.Kind {
	case yamlfile.Text:
		return r.expand(path, typ, at, n.Text)
	case yamlfile.Bool:
		if typ == TypeBool {
			return strings.ToLower(n.Text), true
		}
	case yamlfile.Integer:
		if typ == TypeSize || typ == TypeDuration || typ == TypeNumber || typ == TypeRatio {
			return n.Text, true
		}
	case yamlfile.Float:
		if typ == TypeRatio {
			return n.Text, true
		}
	case yamlfile.Null:
		r.errs.Add(at, path, "there is no value; give one or remove the line")
		return "", false
	}
	advice := "it must be text"
	switch kind := kindOf(n); {
	case kind == "a number" || kind == "a boolean":
		advice = "it must be text: put quotes around it"
		if typ == TypeBool {
			advice = "it must be true or false"
		}
	case typ == TypeSize:
		advice = "it must be a size, as in 8MiB"
	case typ == TypeDuration:
		advice = "it must be a duration, as in 30s"
	case typ == TypeRatio:
		advice = "it must be a number from 0 to 1"
	case typ == TypeNumber:
		advice = "it must be a whole number"
	case typ == TypeBool:
		advice = "it must be true or false"
	}
	r.errs.Add(at, path, "this is %s; %s", kindOf(n), advice)
	return "", false
}

var variable = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)

func (r *fileReader) expand(path string, typ Type, at yamlfile.Place, text string) (string, bool) {
	name, ok := yamlfile.Variable(text)
	if !ok || !variable.MatchString(name) {
		r.config.holdsSecret = r.config.holdsSecret || typ == TypeSecret || path == "tracing.headers"
		return text, true
	}
	v, ok := r.lookup(name)
	if !ok {
		r.errs.Add(at, path, "the variable %s is not set in the environment; set it or write the value", name)
	}
	return v, ok
}
