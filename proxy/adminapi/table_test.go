package adminapi

import (
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/bucketseal/bucketseal/proxy/route"
)

func TestAdminTableTakesTheLongestPath(t *testing.T) {
	t.Parallel()
	table, err := newTable([]row{
		{Op: "below", Method: "GET", Path: "a/*", Action: route.Forward},
		{Op: "deeper", Method: "GET", Path: "a/b/*", Action: route.Forward},
		{Op: "whole", Method: "GET", Path: "a/b/c", Action: route.Forward},
	})
	if err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{"a/b/c": "whole", "a/b/d": "deeper", "a/b/": "deeper", "a/x": "below", "a/x/y": "below", "b": "", "a": ""} {
		found, err := table.find("GET", path, nil)
		if got := ""; err == nil && found.Op != want || err != nil && want != "" {
			t.Errorf("%s selects %s%v, want %s (%v)", path, got, found, want, err)
		}
	}
}

func FuzzAdminPath(f *testing.F) {
	for _, seed := range []string{"admin/v3/info", "admin/v3/heal/b/p", "kms/v1/key/list?pattern=*", "admin/v3/../kms", "metrics/v3/api//x", "%61dmin/v3/info"} {
		f.Add("GET", seed)
	}
	table, err := newTable(Routes())
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, method, target string) {
		u, err := url.Parse("/minio/" + target)
		if err != nil {
			return
		}
		query, err := url.ParseQuery(u.RawQuery)
		if err != nil {
			return
		}
		path := strings.TrimPrefix(u.Path, Root)
		found, err := table.find(method, path, query)
		if err != nil {
			return
		}
		prefix, open := strings.CutSuffix(found.Path, "*")
		if found.Method != method || open && !strings.HasPrefix(path, prefix) || !open && path != found.Path {
			t.Errorf("%s %s selects %s", method, path, found.Op)
		}
		for name, values := range query {
			if found.Action != route.Refuse && (len(values) > 1 || !slices.Contains(append(slices.Clone(found.Sub), found.Params...), name)) {
				t.Errorf("%s takes %q", found.Op, name)
			}
		}
		if !Serves(u.Path) {
			t.Errorf("%s has a route but is no admin path", u.Path)
		}
	})
}
