package proxy

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// serviceUses returns the functions of this package, and of the engine's, that speak to
// upstream under the service credential, or through what does: the system bucket's notes,
// manifests, rules.
func serviceUses(t *testing.T) []string {
	t.Helper()
	names := slices.Concat(functionsThat(t, "*.go", usesService), functionsThat(t, "vault/*.go", usesOwn))
	slices.Sort(names)
	return slices.Compact(names)
}

func functionsThat(t *testing.T, pattern string, use func(*ast.FuncDecl) bool) []string {
	t.Helper()
	files, err := filepath.Glob(pattern)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, name := range files {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range file.Decls {
			if f, ok := d.(*ast.FuncDecl); ok && use(f) {
				names = append(names, functionName(f))
			}
		}
	}
	return names
}

// usesOwn says so of a function of the engine: Vault.own and Vault.alone give the storage
// under the proxy's own credential, and Options have the rest.
func usesOwn(f *ast.FuncDecl) bool {
	found := false
	ast.Inspect(f, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.CallExpr:
			if s, ok := n.Fun.(*ast.SelectorExpr); ok {
				found = found || s.Sel.Name == "own" || s.Sel.Name == "alone" || s.Sel.Name == "Own"
			}
		case *ast.SelectorExpr:
			if options, ok := n.X.(*ast.SelectorExpr); ok && options.Sel.Name == "o" {
				found = found || slices.Contains([]string{"System", "Manifests", "Ledger", "Rules", "Policy", "SweepOthers"}, n.Sel.Name)
			}
		}
		return true
	})
	return found
}

func functionName(f *ast.FuncDecl) string {
	if f.Recv == nil {
		return f.Name.Name
	}
	kind := f.Recv.List[0].Type
	if star, ok := kind.(*ast.StarExpr); ok {
		kind = star.X
	}
	return kind.(*ast.Ident).Name + "." + f.Name.Name
}

func usesService(f *ast.FuncDecl) bool {
	found := false
	ast.Inspect(f, func(n ast.Node) bool {
		s, ok := n.(*ast.SelectorExpr)
		if !ok {
			return true
		}
		switch s.Sel.Name {
		case "service", "serviceRequest", "ledger", "rules", "system":
			found = true
		case "manifests": // not sweepLookups' function of that name
			x, ok := s.X.(*ast.Ident)
			found = found || !ok || x.Name == "s"
		case "Service": // of the options, not the KMS's or the type
			switch x := s.X.(type) {
			case *ast.SelectorExpr:
				found = found || x.Sel.Name == "opts"
			case *ast.Ident:
				found = found || x.Name == "opts" || x.Name == "o"
			}
		}
		return true
	})
	return found
}

// Whoever adds a use of the service credential says in docs/threat-model.md why its
// answer reaches no caller whom upstream would not tell.
func TestEveryUseOfTheServiceCredentialIsExplained(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile("../docs/threat-model.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, ok := strings.Cut(string(page), "\n## Where the proxy's own credential is used\n")
	if !ok {
		t.Fatal("docs/threat-model.md has no such section")
	}
	section, _, _ := strings.Cut(rest, "\n## ")
	var explained []string
	for _, line := range strings.Split(section, "\n") {
		cells := tableCells(line)
		if len(cells) != 3 {
			continue
		}
		for _, m := range regexp.MustCompile("`([A-Za-z.]+)`").FindAllStringSubmatch(cells[0], -1) {
			explained = append(explained, m[1])
			if cells[2] == "" {
				t.Errorf("%s: why does its answer not reach the caller?", m[1])
			}
		}
	}
	slices.Sort(explained)
	used := serviceUses(t)
	for _, name := range used {
		if !slices.Contains(explained, name) {
			t.Errorf("%s uses the service credential: docs/threat-model.md does not say why its answer cannot reach the caller", name)
		}
	}
	for _, name := range explained {
		if !slices.Contains(used, name) {
			t.Errorf("docs/threat-model.md explains %s, which does not use the service credential", name)
		}
	}
}
