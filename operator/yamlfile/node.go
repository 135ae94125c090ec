// Package yamlfile reads YAML files that operators write: it gives a tree whose
// nodes know their places, finds the variables that stand for values, and collects
// what is wrong, so that all of it is reported at once, each with its line. What
// may stand in a file, and the words for what may not, is its reader's to say.
package yamlfile

// Kind is what a Node is.
type Kind int

// Kinds.
const (
	Null    Kind = iota // nothing, or the word null
	Text                // plain, quoted or a block
	Integer             // also in other bases
	Float               // also infinity and what is no number
	Bool
	List
	Mapping
	Alias  // an anchor or an alias, in Plain
	Tagged // a value with a tag, in Plain
	Other  // what no file needs
)

// Node is YAML without its syntax. Nodes that an alias leads to are shared.
type Node struct {
	Kind Kind
	// Line and Column count from 1. A block mapping is where its first key is.
	Line, Column int
	// Text of a scalar as it is written, unquoted.
	Text string
	// Items of a List.
	Items []*Node
	// Fields of a Mapping, in the file's order. In Full, no key is there twice, and
	// merged ones come last.
	Fields []Field
}

// Field is a key of a mapping and its value. A key that is not Text is Other.
type Field struct{ Key, Value *Node }

// IsScalar says whether n is a single value that is there.
func (n *Node) IsScalar() bool {
	switch n.Kind {
	case Text, Integer, Float, Bool:
		return true
	}
	return false
}

// Field returns a mapping's value, or nil.
func (n *Node) Field(key string) *Node {
	for _, f := range n.Fields {
		if f.Key.Text == key {
			return f.Value
		}
	}
	return nil
}
