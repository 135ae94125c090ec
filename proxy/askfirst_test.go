package proxy

import (
	"go/ast"
	"go/parser"
	"go/token"
	"go/types"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// own are the types through which the proxy's own credential speaks: whoever has a value of
// one of them may ask the storage, or read what lies in the system bucket, as the proxy.
// A storage.Credential that is a value, and no pointer to a caller's, is the proxy's.
var own = map[string]bool{
	"proxy/storage.Credential": true, "proxy/upstream.Service": true, "proxy/upstream.canary": true, "proxy/system.Store": true,
	"proxy/manifest.Store": true, "proxy/manifest.Ledger": true, "proxy/rekey.Book": true, "bucketconfig.Rules": true, "proxy/vault.SweepOthers": true,
}

// keepers lie below the engine, and are what the credential keeps: notes, manifests, rules,
// pins, identities, the book of re-keyed objects. What they keep reaches callers through the functions that use them.
// The others are for tests or read files, and have no MinIO.
var keepers = []string{
	"system", "manifest", "pins", "identity", "rekey", "testdata",
	"storage/memory", "storage/simulation", "storage/storagetest", "vault/vaulttest", "offline/copies", "offline/drive",
}

// serviceUses returns the functions of every package that speak to the storage under the
// proxy's own credential, or through what does.
func serviceUses(t *testing.T) []string {
	t.Helper()
	folders := []string{"."}
	for _, depth := range []string{"*", "*/*"} {
		below, err := filepath.Glob(depth)
		if err != nil {
			t.Fatal(err)
		}
		folders = append(folders, below...)
	}
	var names []string
	for _, folder := range folders {
		if !slices.Contains(keepers, folder) && sees(t, folder) {
			names = append(names, usesIn(t, typesOf(t, folder))...)
		}
	}
	slices.Sort(names)
	return names
}

// sees says whether a package imports one that has the credential, or is one.
func sees(t *testing.T, folder string) bool {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(folder, "*.go"))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		tree, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.ImportsOnly)
		if err != nil {
			t.Fatal(err)
		}
		for _, i := range tree.Imports {
			path := strings.TrimPrefix(strings.Trim(i.Path.Value, `"`), ours)
			if slices.Contains([]string{"proxy/storage", "proxy/upstream", "proxy/system", "proxy/manifest", "bucketconfig", "proxy/rekey", "proxy/vault"}, path) {
				return true
			}
		}
	}
	return false
}

// usesIn returns the functions of a package that use the credential, as package.Type.Name.
func usesIn(t *testing.T, p *typed) (names []string) {
	t.Helper()
	for _, err := range p.errors {
		t.Error(err)
	}
	for name, node := range p.declared() {
		used := false
		ast.Inspect(node, func(n ast.Node) bool {
			id, ok := n.(*ast.Ident)
			used = used || ok && isOwn(p.info.Uses[id])
			return !used
		})
		if used {
			names = append(names, p.trees[0].Name.Name+"."+name)
		}
	}
	return names
}

// isOwn says whether an object is, or gives, the credential or what speaks under it.
func isOwn(o types.Object) bool {
	if o == nil || o.Pkg() == nil {
		return false
	}
	switch o := o.(type) {
	case *types.Func:
		return givesStorage(o)
	case *types.Var:
		return own[nameOf(o.Type())] || o.IsField() && o.Name() == "Policy" && isPolicy(o.Type())
	}
	return false
}

// givesStorage says whether a function returns the storage, and not as a caller sees it.
func givesStorage(f *types.Func) bool {
	if strings.EqualFold(f.Name(), "as") {
		return false
	}
	for result := range f.Signature().Results().Variables() {
		if nameOf(result.Type()) == "proxy/storage.Backend" {
			return true
		}
	}
	return false
}

// isPolicy says whether a field's type is that of encryption.Options.Policy: a function that
// reads a document, and may fail.
func isPolicy(kind types.Type) bool {
	f, ok := kind.(*types.Signature)
	return ok && f.Results().Len() == 2
}

// nameOf is the name of a type or of what it points to, with its package's path; but of a
// storage.Credential's pointer, which is a caller's, "".
func nameOf(kind types.Type) string {
	pointer, isPointer := kind.(*types.Pointer)
	if isPointer {
		kind = pointer.Elem()
	}
	named, ok := kind.(*types.Named)
	if !ok || named.Obj().Pkg() == nil {
		return ""
	}
	name := strings.TrimPrefix(named.Obj().Pkg().Path(), ours) + "." + named.Obj().Name()
	if isPointer && name == "proxy/storage.Credential" {
		return ""
	}
	return name
}

func TestANewUseOfTheServiceCredentialIsFound(t *testing.T) {
	t.Parallel()
	var found []string
	for dir, added := range map[string]string{"vault": "testdata/newuses.go", "encryption": "testdata/newpolicy.go"} {
		with, without := usesIn(t, typesOf(t, dir, added)), usesIn(t, typesOf(t, dir))
		for _, name := range with {
			if !slices.Contains(without, name) {
				found = append(found, name)
			}
		}
	}
	slices.Sort(found)
	want := []string{
		"encryption.Settings.readsThePolicy",
		"vault.Vault.looksAlone", "vault.Vault.looksForCaller", "vault.Vault.readsLedger", "vault.Vault.takesStorage",
		"vault.lookFromAVariable", "vault.readsGivenLedger",
	}
	if !slices.Equal(found, want) {
		t.Errorf("found %v, want %v", found, want)
	}
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
