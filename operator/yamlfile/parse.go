package yamlfile

import (
	"bytes"
	"errors"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
)

// What can be wrong with a file's form. Every error of Source.Parse is a
// *SyntaxError that wraps one of these.
var (
	ErrNotYAML        = errors.New("not valid YAML")
	ErrParser         = errors.New("not YAML that can be read") // the parser fails on it
	ErrSecondDocument = errors.New("a second YAML document; only one is read, so remove it")
	ErrTooDeep        = errors.New("nested too deeply")
	ErrNoAnchor       = errors.New("an alias of an anchor that does not exist above it")
	ErrNotSupported   = errors.New("this kind of YAML is not understood here")
	ErrDuplicateKey   = errors.New("this key is there twice in one mapping; keep one")
	ErrNotMergeable   = errors.New("only mappings can be merged with <<")
)

// SyntaxError is what is wrong with the YAML itself, and where. Its text quotes
// nothing of the file, which may hold secrets.
type SyntaxError struct {
	// Line and Column count from 1; 0 if the place is not known.
	Line, Column int
	// Err is one of the sentinels.
	Err error
	// Parser is the parser's own message for ErrNotYAML. It may quote a key.
	Parser string
}

// Error returns the text of the sentinel.
func (e *SyntaxError) Error() string { return e.Err.Error() }

// Unwrap returns the sentinel.
func (e *SyntaxError) Unwrap() error { return e.Err }

// Dialect says how much of YAML a file may use.
type Dialect int

// Dialects.
const (
	// Plain has no anchors, aliases, merges and tags: they become nodes of kinds that
	// readers refuse. A key that is there twice is either ErrNotYAML, or there twice.
	// A mapping in braces is where its brace is.
	Plain Dialect = iota
	// Full follows aliases, merges mappings and ignores tags. A mapping in braces is
	// where its first key is.
	Full
)

// maxDepth bounds nesting; no file that is read here needs a quarter of it.
const maxDepth = 32

// Source is the text of a file as the parser counts its lines.
type Source []byte

// NewSource returns a file's text without a byte order mark, and with the ends of
// lines that the parser counts rightly.
func NewSource(data []byte) Source {
	data = bytes.TrimPrefix(data, []byte("\xef\xbb\xbf"))
	return bytes.ReplaceAll(data, []byte("\r\n"), []byte("\n"))
}

// Line returns a line, counted from 1, without its end; "" if there is none.
func (s Source) Line(n int) string {
	lines := strings.Split(string(s), "\n")
	if n < 1 || n > len(lines) {
		return ""
	}
	return lines[n-1]
}

// Below returns what stands below a key, in its place: the lines before it are empty,
// so that lines and columns are those of the file. ok is false unless the key begins
// a line, without quotes.
func (s Source) Below(key *Node) (below []byte, ok bool) {
	if key.Column != 1 || !strings.HasPrefix(s.Line(key.Line), key.Text) {
		return nil, false
	}
	lines := bytes.SplitAfter(s, []byte("\n"))
	first, rest := lines[key.Line-1], lines[key.Line:]
	colon := len(key.Text) + bytes.IndexByte(first[len(key.Text):], ':')
	below = bytes.Repeat([]byte("\n"), key.Line-1)
	below = append(below, bytes.Repeat([]byte(" "), colon+1)...)
	below = append(below, first[colon+1:]...)
	for _, line := range rest {
		if beginsSetting(line) {
			break
		}
		below = append(below, line...)
	}
	return below, true
}

// beginsSetting says whether a line begins another setting of the document, or ends
// it.
func beginsSetting(line []byte) bool {
	return len(line) > 0 && bytes.IndexByte([]byte(" \t#\r\n}]"), line[0]) < 0
}

// Parse returns the one document of a file; for a file without one a Null node.
// *SyntaxError.
func (s Source) Parse(d Dialect) (root *Node, err error) {
	defer func() {
		// The parser is somebody else's: what an operator mistypes must never look like
		// a crash.
		if r := recover(); r != nil {
			root, err = nil, &SyntaxError{Err: ErrParser}
		}
	}()
	var mode []parser.Option
	if d == Full { // the builder finds them, and merges need it
		mode = append(mode, parser.AllowDuplicateMapKey())
	}
	file, err := parser.ParseBytes(s, 0, mode...)
	if err != nil {
		return nil, parserError(err)
	}
	b := builder{dialect: d, anchors: make(map[string]*Node)}
	for _, doc := range file.Docs {
		if doc.Body == nil || doc.Body.Type() == ast.CommentType {
			continue
		}
		if root != nil {
			return nil, b.fail(doc.Body, ErrSecondDocument)
		}
		if root, err = b.build(doc.Body, 0); err != nil {
			return nil, err
		}
	}
	if root == nil {
		root = &Node{Kind: Null, Line: 1, Column: 1}
	}
	return root, nil
}

func parserError(err error) error {
	out := &SyntaxError{Err: ErrNotYAML}
	var y yaml.Error
	if errors.As(err, &y) {
		out.Parser = y.GetMessage()
		if t := y.GetToken(); t != nil && t.Position != nil {
			out.Line, out.Column = t.Position.Line, t.Position.Column
		}
	}
	return out
}

// builder makes nodes of a parsed document.
type builder struct {
	dialect Dialect
	anchors map[string]*Node // in Full
}

func (b *builder) fail(n ast.Node, sentinel error) error {
	line, column := b.position(n)
	return &SyntaxError{Line: line, Column: column, Err: sentinel}
}

// position returns where a node begins. A mapping's own token is its brace, or its
// first colon.
func (b *builder) position(n ast.Node) (line, column int) {
	t := n.GetToken()
	switch n := n.(type) {
	case *ast.MappingNode:
		if len(n.Values) > 0 && (b.dialect == Full || !n.IsFlowStyle) {
			t = n.Values[0].Key.GetToken()
		}
	case *ast.MappingValueNode:
		t = n.Key.GetToken()
	}
	if t == nil || t.Position == nil {
		return 1, 1
	}
	return t.Position.Line, t.Position.Column
}

func (b *builder) build(n ast.Node, depth int) (*Node, error) {
	if depth > maxDepth {
		return nil, b.fail(n, ErrTooDeep)
	}
	out := &Node{}
	out.Line, out.Column = b.position(n)
	switch n := n.(type) {
	case *ast.NullNode:
		return out, nil
	case *ast.MappingNode:
		return out, b.members(out, n.Values, depth)
	case *ast.MappingValueNode:
		return out, b.members(out, []*ast.MappingValueNode{n}, depth)
	case *ast.SequenceNode:
		out.Kind = List
		for _, v := range n.Values {
			item, err := b.build(v, depth+1)
			if err != nil {
				return nil, err
			}
			out.Items = append(out.Items, item)
		}
		return out, nil
	case *ast.AnchorNode, *ast.AliasNode, *ast.TagNode:
		return b.indirect(out, n, depth)
	case *ast.LiteralNode:
		out.Kind, out.Text = Text, n.Value.Value
		return out, nil
	case *ast.StringNode:
		out.Kind, out.Text = Text, n.Value
		return out, nil
	}
	if out.Kind = numeric(n); out.Kind != Other {
		out.Text = n.GetToken().Value
		return out, nil
	}
	if b.dialect == Full {
		return nil, b.fail(n, ErrNotSupported)
	}
	return out, nil
}

// numeric returns the kind of a scalar that YAML does not take for text.
func numeric(n ast.Node) Kind {
	switch n.(type) {
	case *ast.IntegerNode:
		return Integer
	case *ast.FloatNode, *ast.InfinityNode, *ast.NanNode:
		return Float
	case *ast.BoolNode:
		return Bool
	}
	return Other
}

// indirect follows what leads to a value, or in Plain marks it.
func (b *builder) indirect(out *Node, n ast.Node, depth int) (*Node, error) {
	if b.dialect == Plain {
		out.Kind = Alias
		if _, tag := n.(*ast.TagNode); tag {
			out.Kind = Tagged
		}
		return out, nil
	}
	switch n := n.(type) {
	case *ast.AnchorNode:
		value, err := b.build(n.Value, depth+1)
		if err != nil {
			return nil, err
		}
		b.anchors[n.Name.GetToken().Value] = value
		return value, nil
	case *ast.AliasNode:
		if value, ok := b.anchors[n.Value.GetToken().Value]; ok {
			return value, nil
		}
		return nil, b.fail(n, ErrNoAnchor)
	case *ast.TagNode:
		return b.build(n.Value, depth+1)
	}
	return nil, b.fail(n, ErrNotSupported)
}

// members fills a mapping. In Full its own keys win over merged ones.
func (b *builder) members(out *Node, values []*ast.MappingValueNode, depth int) error {
	out.Kind = Mapping
	var merged []*Node
	seen := make(map[string]bool)
	for _, v := range values {
		value, err := b.build(v.Value, depth+1)
		if err != nil {
			return err
		}
		if b.dialect == Full && v.Key.Type() == ast.MergeKeyType {
			merged = append(merged, value)
			continue
		}
		key := b.key(v.Key)
		if b.dialect == Full && seen[key.Text] {
			return &SyntaxError{Line: key.Line, Column: key.Column, Err: ErrDuplicateKey}
		}
		seen[key.Text] = true
		out.Fields = append(out.Fields, Field{key, value})
	}
	return merge(out, merged, seen)
}

// merge adds what mappings, and lists of them, have and out does not.
func merge(out *Node, merged []*Node, seen map[string]bool) error {
	for _, from := range merged {
		sources := []*Node{from}
		if from.Kind == List {
			sources = from.Items
		}
		for _, source := range sources {
			if source.Kind != Mapping {
				return &SyntaxError{Line: source.Line, Column: source.Column, Err: ErrNotMergeable}
			}
			for _, f := range source.Fields {
				if !seen[f.Key.Text] {
					seen[f.Key.Text] = true
					out.Fields = append(out.Fields, f)
				}
			}
		}
	}
	return nil
}

func (b *builder) key(key ast.MapKeyNode) *Node {
	out := &Node{Kind: Other}
	out.Line, out.Column = b.position(key)
	switch k := key.(type) {
	case *ast.StringNode:
		out.Kind, out.Text = Text, k.Value
		return out
	case *ast.MappingKeyNode: // "? key"
		if inner, ok := k.Value.(*ast.StringNode); ok {
			out.Text = inner.Value
			return out
		}
	}
	if t := key.GetToken(); t != nil {
		out.Text = t.Value
	}
	return out
}
