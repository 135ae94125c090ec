package proxy

import (
	"bytes"
	"go/ast"
	"go/importer"
	"go/parser"
	"go/token"
	"go/types"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

const ours = "github.com/bucketseal/bucketseal/"

// typed is the source of a package of ours, with its types.
type typed struct {
	files *token.FileSet
	trees []*ast.File
	info  types.Info
	// errors are what the compiler would say.
	errors []types.Error
}

// exports returns, by import path, the files in which the go command keeps what it has
// compiled of this package and of those that nothing in it imports, and all that these import.
var exports = sync.OnceValues(func() (map[string]string, error) {
	out, err := exec.Command("go", "list", "-export", "-deps", "-f", "{{.ImportPath}} {{.Export}}", ".", "./doctor", "./console").Output()
	if err != nil {
		return nil, err
	}
	files := make(map[string]string)
	for line := range strings.Lines(string(out)) {
		if path, file, ok := strings.Cut(strings.TrimSpace(line), " "); ok {
			files[path] = file
		}
	}
	return files, nil
})

// typesOf checks the source of the package in a folder, and of further files as if they
// were in it.
func typesOf(t *testing.T, folder string, further ...string) *typed {
	t.Helper()
	compiled, err := exports()
	if err != nil {
		t.Fatal(err)
	}
	names, err := filepath.Glob(filepath.Join(folder, "*.go"))
	if err != nil {
		t.Fatal(err)
	}
	p := &typed{files: token.NewFileSet()}
	for _, name := range append(names, further...) {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		tree, err := parser.ParseFile(p.files, name, nil, parser.ParseComments)
		if err != nil {
			t.Fatal(err)
		}
		p.trees = append(p.trees, tree)
	}
	p.info = types.Info{
		Types: make(map[ast.Expr]types.TypeAndValue), Uses: make(map[*ast.Ident]types.Object),
		Selections: make(map[*ast.SelectorExpr]*types.Selection),
	}
	config := types.Config{
		Importer: importer.ForCompiler(p.files, "gc", func(path string) (io.ReadCloser, error) {
			data, err := os.ReadFile(compiled[path])
			return io.NopCloser(bytes.NewReader(data)), err
		}),
		Error: func(err error) { p.errors = append(p.errors, err.(types.Error)) },
	}
	_, _ = config.Check(ours+filepath.ToSlash(filepath.Join("proxy", folder)), p.files, p.trees, &p.info)
	return p
}
