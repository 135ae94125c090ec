package config

import (
	"bytes"
	"errors"
	"fmt"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"
)

// maxFile bounds the file's size in bytes; a configuration is never that long.
const maxFile = 256 << 10

// fileReader fills a Config from a YAML document. It knows the document's form
// from the table of settings.
type fileReader struct {
	file   string // as in messages
	dir    string // relative paths start here
	source []byte
	lookup func(string) (string, bool)

	settings map[string]Setting
	sections map[string]bool // paths that have settings below them
	config   *Config
	errs     *Errors
}

func newFileReader(c *Config, file string, source []byte, lookup func(string) (string, bool), errs *Errors) *fileReader {
	r := &fileReader{
		file: file, dir: filepath.Dir(file), source: source, lookup: lookup, config: c, errs: errs,
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
func (r *fileReader) read() {
	if len(r.source) > maxFile {
		r.errs.add(origin{name: r.file}, "", "the file has %d bytes; a configuration has at most %d", len(r.source), maxFile)
		return
	}
	if !utf8.Valid(r.source) || bytes.IndexByte(r.source, 0) >= 0 {
		r.errs.add(origin{name: r.file}, "", "the file is no UTF-8 text: it may have been cut while it was written")
		return
	}
	r.source = bytes.TrimPrefix(r.source, []byte("\xef\xbb\xbf"))
	r.source = bytes.ReplaceAll(r.source, []byte("\r\n"), []byte("\n")) // the parser miscounts lines otherwise
	file, err := parse(r.source)
	if err != nil {
		r.syntaxError(err)
		return
	}
	docs := slices.DeleteFunc(file.Docs, func(d *ast.DocumentNode) bool { return d.Body == nil })
	switch {
	case len(docs) == 0:
	case len(docs) > 1:
		r.errs.add(r.at(docs[1].Body), "", "the file holds a second YAML document; put everything in one")
	default:
		r.section("", docs[0].Body)
	}
}

// parse turns a panic of the parser into an error: what an operator mistypes
// must never look like a crash of the server.
func parse(source []byte) (file *ast.File, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = errors.New("this cannot be parsed as YAML")
		}
	}()
	return parser.ParseBytes(source, 0)
}

// syntaxError adds the parser's message without the excerpt it would print,
// which may show a secret.
func (r *fileReader) syntaxError(err error) {
	at := origin{name: r.file}
	message := "this cannot be parsed as YAML"
	if e, ok := errors.AsType[yaml.Error](err); ok {
		message = e.GetMessage()
		if t := e.GetToken(); t != nil {
			at = r.position(t)
		}
	}
	hint := ""
	if line := r.line(at.line); strings.Contains(line, "${") && strings.ContainsAny(line, "{[") {
		hint = `; inside { } and [ ] put quotes around a variable: "${NAME}"`
	}
	r.errs.add(at, "", "not YAML: %s%s", message, hint)
}

func (r *fileReader) line(n int) string {
	lines := strings.Split(string(r.source), "\n")
	if n < 1 || n > len(lines) {
		return ""
	}
	return lines[n-1]
}

func (r *fileReader) position(t *token.Token) origin {
	if t == nil || t.Position == nil {
		return origin{name: r.file}
	}
	return origin{r.file, t.Position.Line, t.Position.Column}
}

// at returns where a node begins. A mapping's own token is its first colon.
func (r *fileReader) at(n ast.Node) origin {
	if m, ok := n.(*ast.MappingNode); ok && !m.IsFlowStyle && len(m.Values) > 0 {
		return r.position(m.Values[0].Key.GetToken())
	}
	return r.position(n.GetToken())
}

// section reads a mapping whose settings begin with path.
func (r *fileReader) section(path string, n ast.Node) {
	if _, empty := n.(*ast.NullNode); empty { // everything in it is commented out
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
	name  string
	at    origin
	value ast.Node
}

// entries returns a mapping's entries; what is wrong with its form is an error.
func (r *fileReader) entries(path string, n ast.Node) ([]entry, bool) {
	m, ok := n.(ast.MapNode)
	if !ok {
		if path == "" {
			r.errs.add(r.at(n), "", "the file holds %s; it must hold settings, as in \"address: :8080\"", kindOf(n))
		} else {
			r.errs.add(r.at(n), path, "this is %s; it must be a section with settings of its own", kindOf(n))
		}
		return nil, false
	}
	var all []entry
	first := make(map[string]origin)
	for it := m.MapRange(); it.Next(); {
		at := r.position(it.Key().GetToken())
		name, ok := it.Key().(*ast.StringNode)
		if !ok {
			r.errs.add(at, path, "this is no setting's name; anchors, merges and complex keys are not supported")
			continue
		}
		if before, twice := first[name.Value]; twice {
			r.errs.add(at, join(path, name.Value), "this is given twice, first in line %d; remove one", before.line)
			continue
		}
		first[name.Value] = at
		all = append(all, entry{name.Value, at, it.Value()})
	}
	return all, true
}

func join(path, name string) string {
	if path == "" {
		return name
	}
	return path + "." + name
}

func kindOf(n ast.Node) string {
	switch n.(type) {
	case ast.MapNode:
		return "a section"
	case *ast.SequenceNode:
		return "a list"
	case *ast.NullNode:
		return "empty"
	case *ast.IntegerNode, *ast.FloatNode, *ast.InfinityNode, *ast.NanNode:
		return "a number"
	case *ast.BoolNode:
		return "a boolean"
	case *ast.StringNode, *ast.LiteralNode:
		return "text"
	case *ast.AnchorNode, *ast.AliasNode:
		return "an anchor or alias, which is not supported"
	case *ast.TagNode:
		return "a tagged value, which is not supported"
	}
	return "of a kind that is not supported"
}

// setting reads the value of one setting.
func (r *fileReader) setting(s Setting, e entry) {
	var values []string
	at := r.at(e.value)
	if s.Type == TypeList {
		sequence, ok := e.value.(*ast.SequenceNode)
		if !ok {
			r.errs.add(at, s.Path, "this is %s; it must be a list: [A, B], or a line with \"- A\" for each", kindOf(e.value))
			return
		}
		for _, item := range sequence.Values {
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
	if err := s.set(r.config, values); err != nil {
		r.errs.add(at, s.Path, "%v", err)
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

var variable = regexp.MustCompile(`^\$\{([A-Za-z_][A-Za-z0-9_]*)\}$`)

// scalar returns the text of a scalar. A text that is wholly ${NAME} stands for
// that variable.
func (r *fileReader) scalar(path string, typ Type, n ast.Node) (string, bool) {
	at := r.at(n)
	switch v := n.(type) {
	case *ast.StringNode:
		return r.expand(path, typ, at, v.Value)
	case *ast.LiteralNode:
		return r.expand(path, typ, at, v.Value.Value)
	case *ast.BoolNode:
		if typ == TypeBool {
			return fmt.Sprint(v.Value), true
		}
	case *ast.IntegerNode:
		if typ == TypeSize || typ == TypeDuration || typ == TypeNumber {
			return v.GetToken().Value, true
		}
	case *ast.NullNode:
		r.errs.add(at, path, "there is no value; give one or remove the line")
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
	case typ == TypeNumber:
		advice = "it must be a whole number"
	case typ == TypeBool:
		advice = "it must be true or false"
	}
	r.errs.add(at, path, "this is %s; %s", kindOf(n), advice)
	return "", false
}

func (r *fileReader) expand(path string, typ Type, at origin, text string) (string, bool) {
	m := variable.FindStringSubmatch(strings.TrimSpace(text))
	if m == nil {
		r.config.holdsSecret = r.config.holdsSecret || typ == TypeSecret
		return text, true
	}
	v, ok := r.lookup(m[1])
	if !ok {
		r.errs.add(at, path, "the variable %s is not set in the environment; set it or write the value", m[1])
	}
	return v, ok
}
