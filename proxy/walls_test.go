package proxy

import (
	"go/ast"
	"go/token"
	"go/types"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// A handler of S3 that reads an object and leaves out the question whether its caller may
// does not compile: testdata/torrent.go tries.
func TestAHandlerThatReadsWithoutARightsCheckDoesNotCompile(t *testing.T) {
	t.Parallel()
	const file = "testdata/torrent.go"
	p := typesOf(t, "s3api", file)
	expected := regexp.MustCompile(`^// want "(.+)"$`)
	want := make(map[int]string) // by line
	for _, tree := range p.trees {
		for _, group := range tree.Comments {
			for _, c := range group.List {
				at := p.files.Position(c.Pos())
				if m := expected.FindStringSubmatch(c.Text); m != nil && at.Filename == file {
					want[at.Line] = m[1]
				}
			}
		}
	}
	if len(want) == 0 {
		t.Fatal("the file expects nothing")
	}
	for _, err := range p.errors {
		at := p.files.Position(err.Pos)
		if text, ok := want[at.Line]; at.Filename != file || !ok || !strings.Contains(err.Msg, text) {
			t.Errorf("%s: %s", at, err.Msg)
		}
	}
	for line, text := range want {
		if !slices.ContainsFunc(p.errors, func(err types.Error) bool { return p.files.Position(err.Pos).Line == line }) {
			t.Errorf("%s:%d compiles, and should not: %q", file, line, text)
		}
	}
}

// depguard says which packages a package may see; of some of them it may see a part only.
// S3 has neither a key nor a credential of the proxy's own: it knows by name what goes
// wrong with these, and of upstream what passes requests on as their callers.
func TestS3SeesNeitherKeysNorACredentialOfTheProxys(t *testing.T) {
	t.Parallel()
	for folder, seen := range map[string]map[string][]string{
		"s3api": {
			"kms": {"ParseClientContext", "VersionError"}, "proxy/system": nil, "proxy/upstream": {"Answer", "S3", "ParseBuckets", "BucketList"},
			"proxy/keyring": nil, "proxy/manifest": nil, "proxy/pins": nil,
		},
		"sts":      {"proxy/upstream": {"Forwarder", "Forward", "Answer", "STS"}},
		"intake":   {"kms": nil, "proxy/system": nil, "proxy/keyring": {"As", "Caller"}, "proxy/upstream": {"Forwarder", "Forward", "Answer", "API", "Keeps", "HopHeader"}},
		"adminapi": {"proxy/pins": {"PinNothing"}, "proxy/upstream": {"Forwarder", "Forward", "Answer", "Admin"}},
	} {
		p := typesOf(t, folder)
		for _, err := range p.errors {
			t.Error(err)
		}
		for name, o := range p.info.Uses {
			what, ok := offered(o)
			if !ok {
				continue
			}
			allowed, bounded := seen[strings.TrimPrefix(o.Pkg().Path(), ours)]
			if bounded && !isSentinel(o) && !slices.Contains(allowed, what) {
				t.Errorf("%s: %s uses %s of %s", p.files.Position(name.Pos()), folder, o.Name(), o.Pkg().Path())
			}
		}
	}
}

// offered returns the name of what a package offers by itself, and for a method that of
// its type.
func offered(o types.Object) (string, bool) {
	if f, ok := o.(*types.Func); ok && f.Signature().Recv() != nil {
		kind := f.Signature().Recv().Type()
		if pointer, ok := kind.(*types.Pointer); ok {
			kind = pointer.Elem()
		}
		named, ok := kind.(*types.Named)
		if !ok || named.Obj().Pkg() == nil { // as of error
			return "", false
		}
		return named.Obj().Name(), true
	}
	return o.Name(), o.Pkg() != nil && o.Parent() == o.Pkg().Scope()
}

// isSentinel says whether an object is an error that a package names.
func isSentinel(o types.Object) bool {
	v, ok := o.(*types.Var)
	return ok && token.IsExported(o.Name()) && o.Parent() == o.Pkg().Scope() && types.Identical(v.Type(), types.Universe.Lookup("error").Type())
}

// declared are the functions of a package, and its variables that hold some, by name.
func (p *typed) declared() map[string]ast.Node {
	all := make(map[string]ast.Node)
	for _, tree := range p.trees {
		for _, d := range tree.Decls {
			switch d := d.(type) {
			case *ast.FuncDecl:
				all[functionName(d)] = d
			case *ast.GenDecl:
				for _, spec := range d.Specs {
					if v, ok := spec.(*ast.ValueSpec); ok {
						all[v.Names[0].Name] = v
					}
				}
			}
		}
	}
	return all
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
