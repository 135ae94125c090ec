package config

import (
	"errors"
	"fmt"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"
)

const (
	// maxFileSize bounds a configuration file, in bytes.
	maxFileSize = 1 << 20
	// maxDepth bounds nesting; the schema needs six levels.
	maxDepth = 32
)

type kind int

const (
	null kind = iota
	scalar
	mapping
	sequence
)

func (k kind) String() string {
	return [...]string{"nothing", "a single value", "a mapping", "a list"}[k]
}

// node is YAML without its syntax: aliases followed, merges done. Aliased nodes
// are shared, so a small file cannot become a large tree.
type node struct {
	kind         kind
	line, column int
	text         string // of a scalar, as written, unquoted
	items        []*node
	fields       []member
}

type member struct {
	key   *node
	value *node
}

// field returns a mapping's value, or nil.
func (n *node) field(key string) *node {
	for _, f := range n.fields {
		if f.key.text == key {
			return f.value
		}
	}
	return nil
}

// syntaxError is what is wrong with the YAML itself.
type syntaxError struct {
	line, column int
	text         string
}

func (e *syntaxError) Error() string { return e.text }

// readDocument parses one YAML document. Its errors are *syntaxError and quote
// nothing of the file, which may hold secrets.
func readDocument(data []byte) (root *node, err error) {
	if len(data) > maxFileSize {
		return nil, &syntaxError{1, 1, fmt.Sprintf("the file is larger than %d bytes", maxFileSize)}
	}
	defer func() {
		// The parser is somebody else's; a file it chokes on is a bad file.
		if r := recover(); r != nil {
			root, err = nil, &syntaxError{1, 1, "not YAML that can be read"}
		}
	}()
	file, err := parser.ParseBytes(data, 0, parser.AllowDuplicateMapKey())
	if err != nil {
		return nil, parseError(err)
	}
	b := builder{anchors: make(map[string]*node)}
	for _, doc := range file.Docs {
		if doc.Body == nil || doc.Body.Type() == ast.CommentType {
			continue
		}
		if root != nil {
			return nil, b.fail(doc.Body, "a second YAML document; only one is read, so remove it")
		}
		if root, err = b.build(doc.Body, 0); err != nil {
			return nil, err
		}
	}
	if root == nil {
		root = &node{kind: null, line: 1, column: 1}
	}
	return root, nil
}

func parseError(err error) error {
	var y yaml.Error
	if errors.As(err, &y) && y.GetToken() != nil && y.GetToken().Position != nil {
		pos := y.GetToken().Position
		return &syntaxError{pos.Line, pos.Column, "not valid YAML here; look at the indentation, quotes and colons of this line and the one before; inside [ ] and { }, ${NAME} needs quotes"}
	}
	return &syntaxError{1, 1, "not valid YAML"}
}

type builder struct {
	anchors map[string]*node
}

func (b *builder) fail(n ast.Node, text string) error {
	line, column := position(n)
	return &syntaxError{line, column, text}
}

func position(n ast.Node) (line, column int) {
	t := n.GetToken()
	if m, ok := n.(*ast.MappingNode); ok && len(m.Values) > 0 {
		t = m.Values[0].Key.GetToken()
	}
	if m, ok := n.(*ast.MappingValueNode); ok {
		t = m.Key.GetToken()
	}
	if t == nil || t.Position == nil {
		return 1, 1
	}
	return t.Position.Line, t.Position.Column
}

func (b *builder) build(n ast.Node, depth int) (*node, error) {
	if depth > maxDepth {
		return nil, b.fail(n, "nested too deeply")
	}
	out := &node{}
	out.line, out.column = position(n)
	switch n := n.(type) {
	case *ast.NullNode:
		return out, nil
	case *ast.MappingNode:
		return out, b.members(out, n.Values, depth)
	case *ast.MappingValueNode:
		return out, b.members(out, []*ast.MappingValueNode{n}, depth)
	case *ast.SequenceNode:
		out.kind = sequence
		for _, v := range n.Values {
			item, err := b.build(v, depth+1)
			if err != nil {
				return nil, err
			}
			out.items = append(out.items, item)
		}
		return out, nil
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
		return nil, b.fail(n, "an alias of an anchor that does not exist above it")
	case *ast.TagNode:
		return b.build(n.Value, depth+1)
	case *ast.LiteralNode:
		out.kind, out.text = scalar, n.Value.Value
		return out, nil
	case *ast.StringNode:
		out.kind, out.text = scalar, n.Value
		return out, nil
	case *ast.IntegerNode, *ast.FloatNode, *ast.BoolNode, *ast.InfinityNode, *ast.NanNode:
		out.kind, out.text = scalar, n.GetToken().Value
		return out, nil
	}
	return nil, b.fail(n, "this kind of YAML is not understood here")
}

// members fills a mapping. Keys of its own win over merged ones.
func (b *builder) members(out *node, values []*ast.MappingValueNode, depth int) error {
	out.kind = mapping
	var merged []*node
	seen := make(map[string]bool)
	for _, v := range values {
		value, err := b.build(v.Value, depth+1)
		if err != nil {
			return err
		}
		if v.Key.Type() == ast.MergeKeyType {
			merged = append(merged, value)
			continue
		}
		key := &node{kind: scalar, text: keyText(v.Key)}
		key.line, key.column = position(v.Key)
		if seen[key.text] {
			return &syntaxError{key.line, key.column, "this key is there twice in one mapping; keep one"}
		}
		seen[key.text] = true
		out.fields = append(out.fields, member{key, value})
	}
	for _, from := range merged {
		sources := []*node{from}
		if from.kind == sequence {
			sources = from.items
		}
		for _, source := range sources {
			if source.kind != mapping {
				return &syntaxError{source.line, source.column, "only mappings can be merged with <<"}
			}
			for _, f := range source.fields {
				if !seen[f.key.text] {
					seen[f.key.text] = true
					out.fields = append(out.fields, f)
				}
			}
		}
	}
	return nil
}

func keyText(key ast.MapKeyNode) string {
	switch k := key.(type) {
	case *ast.StringNode:
		return k.Value
	case *ast.MappingKeyNode:
		if inner, ok := k.Value.(*ast.StringNode); ok {
			return inner.Value
		}
	}
	var t *token.Token
	if t = key.GetToken(); t == nil {
		return ""
	}
	return t.Value
}
