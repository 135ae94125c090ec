package proxy

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// answered is what the source says that clients are answered: status and code, and for each
// its sentences, as far as they are written there as a whole.
type answered map[string]map[string]bool

// answers reads every call of intake.NewError.
func answers(t *testing.T) answered {
	t.Helper()
	found := make(answered)
	constants := map[string]string{
		"invalidRequest": "InvalidRequest", "invalidArgument": "InvalidArgument", "statusClientGone": "499",
		"StatusBadRequest": "400", "StatusForbidden": "403", "StatusNotFound": "404", "StatusNotImplemented": "501", "StatusNotModified": "304",
	}
	err := filepath.WalkDir(".", func(path string, _ fs.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return err
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, 0)
		if err != nil {
			return err
		}
		ast.Inspect(file, func(n ast.Node) bool {
			if call, ok := n.(*ast.CallExpr); ok && called(call) == "NewError" && len(call.Args) == 3 {
				found.add(constants, call.Args)
			}
			return true
		})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// called is the name of a called function, without its package.
func called(call *ast.CallExpr) string {
	switch f := call.Fun.(type) {
	case *ast.SelectorExpr:
		return f.Sel.Name
	case *ast.Ident:
		return f.Name
	}
	return ""
}

func (a answered) add(constants map[string]string, args []ast.Expr) {
	text := func(e ast.Expr) string {
		switch x := e.(type) {
		case *ast.BasicLit:
			if s, err := strconv.Unquote(x.Value); err == nil && x.Kind == token.STRING {
				return s
			}
			return x.Value
		case *ast.Ident:
			return constants[x.Name]
		case *ast.SelectorExpr:
			return constants[x.Sel.Name]
		}
		return ""
	}
	status, code := text(args[0]), text(args[1])
	if status == "" || code == "" { // one that is passed on from another error
		return
	}
	name := status + " `" + code + "`"
	if a[name] == nil {
		a[name] = make(map[string]bool)
	}
	if message := text(args[2]); message != "" {
		a[name][message] = true
	}
}

// docs/errors.md has each code that is answered, no other, and of 5xx each sentence.
func TestDocumentationNamesEveryError(t *testing.T) {
	t.Parallel()
	data, err := os.ReadFile("../docs/errors.md")
	if err != nil {
		t.Fatal(err)
	}
	page := strings.ReplaceAll(string(data), "500 or 502 `InternalError`", "500 `InternalError`, 502 `InternalError`")
	documented := make(map[string][]string)
	for line := range strings.Lines(page) {
		cells := strings.Split(line, " | ")
		for _, name := range regexp.MustCompile("[0-9]{3} `[A-Za-z0-9:.]+`").FindAllString(cells[0], -1) {
			sentence := ""
			if len(cells) == 3 {
				sentence = cells[1]
			}
			documented[name] = append(documented[name], sentence)
		}
	}
	found := answers(t)
	if len(found) < 60 {
		t.Errorf("only %d codes were found in the source", len(found))
	}
	for name, sentences := range found {
		rows, ok := documented[name]
		if !ok {
			t.Errorf("docs/errors.md does not have %s %v", name, sentences)
		}
		delete(documented, name)
		for sentence := range sentences {
			if ok && name >= "5" && !slices.Contains(rows, sentence) {
				t.Errorf("docs/errors.md, %s: no row for %q", name, sentence)
			}
		}
		for _, row := range rows {
			if name >= "5" && !sentences[row] {
				t.Errorf("docs/errors.md, %s: nothing says %q", name, row)
			}
		}
	}
	for name := range documented {
		t.Errorf("docs/errors.md has %s, which nothing answers", name)
	}
}
