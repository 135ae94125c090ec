package yamlfile

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
)

// dump writes a tree on one line: kind, place and text of each node.
func dump(n *Node) string {
	kinds := [...]string{"null", "text", "integer", "float", "bool", "list", "mapping", "alias", "tagged", "other"}
	var parts []string
	for _, item := range n.Items {
		parts = append(parts, dump(item))
	}
	for _, f := range n.Fields {
		parts = append(parts, dump(f.Key)+"="+dump(f.Value))
	}
	s := fmt.Sprintf("%s@%d:%d", kinds[n.Kind], n.Line, n.Column)
	if n.IsScalar() || n.Kind == Other {
		s += fmt.Sprintf("%q", n.Text)
	}
	if len(parts) > 0 {
		s += "(" + strings.Join(parts, " ") + ")"
	}
	return s
}

func TestTheTreeKnowsKindsAndPlaces(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct{ yaml, plain, full string }{
		"nothing":      {"", "null@1:1", "null@1:1"},
		"a comment":    {"# x\n", "null@1:1", "null@1:1"},
		"an empty one": {"---\n", "null@1:1", "null@1:1"},
		"scalars":      {"[a, 'b', 1, 0x1f, 1.5, .inf, True, ~]\n", `list@1:1(text@1:2"a" text@1:5"b" integer@1:10"1" integer@1:13"0x1f" float@1:19"1.5" float@1:24".inf" bool@1:30"True" null@1:36)`, ""},
		"a block of text": {
			"a: |\n  x\n  y\n", `mapping@1:1(text@1:1"a"=text@1:4"x\ny\n")`, "",
		},
		"sections": {
			"# x\na:\n  b: c\n  d:\n", `mapping@2:1(text@2:1"a"=mapping@3:3(text@3:3"b"=text@3:6"c" text@4:3"d"=null@4:6))`, "",
		},
		"sections in braces": {
			"a: {b: c}\n", `mapping@1:1(text@1:1"a"=mapping@1:4(text@1:5"b"=text@1:8"c"))`, `mapping@1:1(text@1:1"a"=mapping@1:5(text@1:5"b"=text@1:8"c"))`,
		},
		"items": {
			"- a: b\n  c: d\n-\n", `list@1:1(mapping@1:3(text@1:3"a"=text@1:6"b" text@2:3"c"=text@2:6"d") null@3:3)`, "",
		},
		"an anchor and its alias": {
			"a: &x [b]\nc: *x\n", `mapping@1:1(text@1:1"a"=alias@1:4 text@2:1"c"=alias@2:4)`, `mapping@1:1(text@1:1"a"=list@1:7(text@1:8"b") text@2:1"c"=list@1:7(text@1:8"b"))`,
		},
		"a merge": {
			"a: &x {b: 1, c: 2}\nd:\n  <<: *x\n  c: 3\n",
			`mapping@1:1(text@1:1"a"=alias@1:4 text@2:1"d"=mapping@3:3(other@3:3"<<"=alias@3:7 text@4:3"c"=integer@4:6"3"))`,
			`mapping@1:1(text@1:1"a"=mapping@1:8(text@1:8"b"=integer@1:11"1" text@1:14"c"=integer@1:17"2") text@2:1"d"=mapping@3:3(text@4:3"c"=integer@4:6"3" text@1:8"b"=integer@1:11"1"))`,
		},
		"a tag":       {"a: !!str b\n", `mapping@1:1(text@1:1"a"=tagged@1:4)`, `mapping@1:1(text@1:1"a"=text@1:9"b")`},
		"odd keys":    {"1: a\n\"b\": c\n? d\n: e\n", `mapping@1:1(other@1:1"1"=text@1:4"a" text@2:1"b"=text@2:6"c" other@3:1"d"=text@4:3"e")`, ""},
		"CR LF":       {"# x\r\na: b\r\n\r\nc: d\r\n", `mapping@2:1(text@2:1"a"=text@2:4"b" text@4:1"c"=text@4:4"d")`, ""},
		"a byte mark": {"\xef\xbb\xbfa: b\n", `mapping@1:1(text@1:1"a"=text@1:4"b")`, ""},
	} {
		if test.full == "" {
			test.full = test.plain
		}
		for dialect, want := range map[Dialect]string{Plain: test.plain, Full: test.full} {
			root, err := NewSource([]byte(test.yaml)).Parse(dialect)
			if err != nil {
				t.Errorf("%s, dialect %d: %v", name, dialect, err)
			} else if got := dump(root); got != want {
				t.Errorf("%s, dialect %d:\n got %s\nwant %s", name, dialect, got, want)
			}
		}
	}
}

func TestWhatIsNoYAMLHasItsPlaceAndQuotesNothing(t *testing.T) {
	t.Parallel()
	const secret = "hunter2"
	for name, test := range map[string]struct {
		yaml    string
		dialect Dialect
		want    error
		place   string
		parser  string
	}{
		"an open quote":        {"a: '" + secret + "\n", Plain, ErrNotYAML, "1:4", "could not find end character"},
		"indentation":          {"a:\n  b: 1\n " + secret + "\n", Full, ErrNotYAML, "3:2", ""},
		"twice":                {"a: " + secret + "\na: x\n", Plain, ErrNotYAML, "2:1", `mapping key "a" already defined`},
		"twice, full":          {"a: " + secret + "\na: x\n", Full, ErrDuplicateKey, "2:1", ""},
		"twice, quoted":        {"a: " + secret + "\n\"a\": x\n", Full, ErrDuplicateKey, "2:1", ""},
		"two documents":        {"a: " + secret + "\n---\nb: c\n", Plain, ErrSecondDocument, "3:1", ""},
		"two, in braces":       {"a: b\n---\n{" + secret + ": c}\n", Plain, ErrSecondDocument, "3:1", ""},
		"two, full":            {"a: b\n---\n{" + secret + ": c}\n", Full, ErrSecondDocument, "3:2", ""},
		"an alias of nothing":  {"a: *" + secret + "\n", Full, ErrNoAnchor, "1:4", ""},
		"an alias of itself":   {"a: &x [*x]\n", Full, ErrNoAnchor, "1:8", ""},
		"a merge of text":      {"<<: " + secret + "\n", Full, ErrNotMergeable, "1:5", ""},
		"a merge of such list": {"<<: [" + secret + "]\n", Full, ErrNotMergeable, "1:6", ""},
		"deep":                 {strings.Repeat("[", 40) + strings.Repeat("]", 40), Full, ErrTooDeep, "1:34", ""},
		"deep, plain":          {strings.Repeat("[", 40) + strings.Repeat("]", 40), Plain, ErrTooDeep, "1:34", ""},
	} {
		root, err := NewSource([]byte(test.yaml)).Parse(test.dialect)
		s, ok := errors.AsType[*SyntaxError](err)
		if !ok || !errors.Is(err, test.want) || root != nil {
			t.Errorf("%s: %v, %v", name, root, err)
			continue
		}
		if place := fmt.Sprintf("%d:%d", s.Line, s.Column); place != test.place || !strings.Contains(s.Parser, test.parser) {
			t.Errorf("%s: at %s, %q; want %s, %q", name, place, s.Parser, test.place, test.parser)
		}
		if strings.Contains(err.Error()+s.Parser, secret) {
			t.Errorf("%s quotes a secret: %v, %q", name, err, s.Parser)
		}
	}
}

// A small file must not become a large tree.
func TestAliasedNodesAreShared(t *testing.T) {
	t.Parallel()
	var b strings.Builder
	b.WriteString("a0: &a0 [x]\n")
	for i := 1; i < 60; i++ {
		fmt.Fprintf(&b, "a%d: &a%d [%s]\n", i, i, strings.TrimSuffix(strings.Repeat(fmt.Sprintf("*a%d,", i-1), 10), ","))
	}
	root, err := NewSource([]byte(b.String())).Parse(Full)
	if err != nil {
		t.Fatal(err)
	}
	if last := root.Field("a59"); len(last.Items) != 10 || last.Items[0] != last.Items[9] || last.Items[0] != root.Field("a58") {
		t.Error("an alias was copied")
	}
	if root.Field("a60") != nil {
		t.Error("a field that is not there")
	}
}

func TestBelowAKeyStandsInItsPlace(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct{ yaml, want string }{
		"a block":       {"# x\na: 1\nkms:  # ours\n  b:\n    c: d\n# between\n\n  e: f\nz: 1\n", "\n\n      # ours\n  b:\n    c: d\n# between\n\n  e: f\n"},
		"at the end":    {"kms:\n  b: c", "    \n  b: c"},
		"in braces":     {"kms: {b: [c\n]}\nz: 1\n", "     {b: [c\n]}\n"},
		"a wide colon":  {"kms :\n  b: c\n", "     \n  b: c\n"},
		"CR LF":         {"a: 1\r\nkms:\r\n  b: c\r\nz: 1\r\n", "\n    \n  b: c\n"},
		"in a mapping":  {"{kms: {b: c}}\n", ""},
		"quoted":        {"\"kms\":\n  b: c\n", ""},
		"deeper inside": {"x:\n  kms:\n    b: c\n", ""},
	} {
		source := NewSource([]byte(test.yaml))
		root, err := source.Parse(Plain)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		below, ok := source.Below(find(root, "kms"))
		if ok != (test.want != "") || string(below) != test.want {
			t.Errorf("%s: %q, %t; want %q", name, below, ok, test.want)
			continue
		}
		if !ok {
			continue
		}
		again, err := NewSource(below).Parse(Plain)
		if err != nil || again.Fields[0].Key.Line != root.Field("kms").Fields[0].Key.Line {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// find returns the key of that name, wherever it stands.
func find(n *Node, name string) *Node {
	for _, f := range n.Fields {
		if f.Key.Text == name {
			return f.Key
		}
		if k := find(f.Value, name); k != nil {
			return k
		}
	}
	return nil
}

func TestLinesCountFromOne(t *testing.T) {
	t.Parallel()
	s := NewSource([]byte("one\r\ntwo\nthree"))
	for n, want := range map[int]string{-1: "", 0: "", 1: "one", 2: "two", 3: "three", 4: ""} {
		if got := s.Line(n); got != want {
			t.Errorf("line %d is %q", n, got)
		}
	}
}

func TestVariablesStandForWholeTextsOnly(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"${A}": "A", " ${A_1}\n": "A_1", "${ A }": " A ", "${a-b}": "a-b", "${}": "",
		"x${A}": "no", "${A}x": "no", "${A}${B}": "no", "${${A}}": "no", "$A": "no", "{A}": "no", "${A": "no", "": "no",
	} {
		name, ok := Variable(text)
		if ok != (want != "no") || ok && name != want {
			t.Errorf("%q: %q, %t", text, name, ok)
		}
	}
}

func TestNearestWord(t *testing.T) {
	t.Parallel()
	words := []string{"address", "region", "log", "limits"}
	for word, want := range map[string]string{
		"adress": "address", "regoin": "region", "lgo": "log", "limit": "limits", "colour": "", "": "", strings.Repeat("x", 100): "",
	} {
		if got := Nearest(word, words); got != want {
			t.Errorf("%q: %q, want %q", word, got, want)
		}
	}
}

func TestProblemsNameTheirPlaceAndSetting(t *testing.T) {
	t.Parallel()
	var p Problems
	if p.Err() != nil {
		t.Error("nothing wrong is an error")
	}
	p.Add(Place{"f.yml", 2, 7}, "log.level", "%q is not possible", "loud")
	p.Add(Place{Name: "--address"}, "", "no address")
	p.Add(Place{}, "data_dir", "missing")
	p.Add(Place{"f.yml", 2, 1}, "", "odd")
	p.Sort()
	err := p.Err()
	want := "--address: no address\ndata_dir: missing\nf.yml:2:1: odd\nf.yml:2:7: log.level: \"loud\" is not possible"
	if err == nil || err.Error() != want || !errors.Is(err, ErrInvalid) || errors.Is(err, ErrNotYAML) {
		t.Errorf("got\n%v\nwant\n%s", err, want)
	}
	for setting, about := range map[string]bool{"log.level": true, "log": true, "lo": false, "log.level.x": false, "data_dir": true} {
		if p.About(setting) != about {
			t.Errorf("about %s: %t", setting, !about)
		}
	}
}

// Whatever a file holds, there is a tree whose nodes lie in the file, or an error.
func FuzzParse(f *testing.F) {
	for _, seed := range []string{
		"a: &x {b: [1, ~]}\nc: {<<: *x}\n", "? a\n: b", "a: |\n  x\n b", "a: &a [*a]\n", "<<: [a]", "---\n...\n--- !!x\n", "a: !!map\n", "{a, b: }", "\xef\xbb\xbfa: b\r\n",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		source := NewSource(data)
		for _, dialect := range []Dialect{Plain, Full} {
			root, err := source.Parse(dialect)
			if err != nil {
				if _, ok := errors.AsType[*SyntaxError](err); !ok || root != nil || err.Error() == "" {
					t.Fatalf("%v with %v", err, root)
				}
				continue
			}
			check(t, source, dialect, root, 0)
		}
	})
}

func check(t *testing.T, source Source, dialect Dialect, n *Node, depth int) {
	t.Helper()
	switch {
	case n.Line < 1 || n.Column < 1:
		t.Fatalf("a node at %d:%d", n.Line, n.Column)
	case dialect == Full && slices.Contains([]Kind{Alias, Tagged, Other}, n.Kind):
		t.Fatalf("a node of kind %d", n.Kind)
	case depth > 2*maxDepth:
		return // aliases may lead on
	}
	for _, item := range n.Items {
		check(t, source, dialect, item, depth+1)
	}
	for _, field := range n.Fields {
		if below, ok := source.Below(field.Key); ok && len(below) > len(source) {
			t.Fatalf("%q below a key of %q", below, source)
		}
		check(t, source, dialect, field.Value, depth+1)
	}
}
