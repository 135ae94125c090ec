package proxy

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/bucketseal/bucketseal/proxy/adminapi"
	"github.com/bucketseal/bucketseal/proxy/route"
	"github.com/bucketseal/bucketseal/proxy/s3api"
	"github.com/bucketseal/bucketseal/proxy/sts"
)

// documentedRow is a route as docs/compatibility.md writes it, without the notes.
func documentedRow[H any](r *route.Row[H]) []string {
	request := r.Method + " " + map[route.Scope]string{route.Service: "/", route.Bucket: "/BUCKET", route.Object: "/BUCKET/KEY", route.Admin: adminapi.Root + r.Path}[r.Scope]
	if len(r.Sub) > 0 {
		request += "?" + strings.Join(r.Sub, "&")
	}
	request = "`" + request + "`"
	if r.Header != "" {
		request += " with `" + strings.ToLower(r.Header) + "`"
	}
	var further []string
	for _, name := range r.Params {
		further = append(further, "`"+name+"`")
	}
	for _, name := range r.Headers {
		further = append(further, "`"+strings.ToLower(name)+"`")
	}
	happens := map[route.Action]string{route.Translate: "translated", route.Forward: "forwarded", route.Refuse: "refused"}[r.Action]
	return []string{r.Op, request, happens, strings.Join(further, ", ")}
}

// documentedSection returns the lines of one section of docs/compatibility.md.
func documentedSection(t *testing.T, title string) []string {
	t.Helper()
	page, err := os.ReadFile("../docs/compatibility.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, ok := strings.Cut(string(page), "\n## "+title+"\n")
	if !ok {
		t.Fatalf("docs/compatibility.md has no section %q", title)
	}
	section, _, _ := strings.Cut(rest, "\n## ")
	return strings.Split(section, "\n")
}

func tableCells(line string) []string {
	line = strings.TrimSpace(line)
	cells := strings.Split(strings.TrimSuffix(strings.TrimPrefix(line, "|"), "|"), "|")
	for i := range cells {
		cells[i] = strings.TrimSpace(cells[i])
	}
	return cells
}

func TestCompatibilityPageNamesEveryRouteAsItIs(t *testing.T) {
	t.Parallel()
	comparePage(t, "Operations", operations())
}

// operations are the rows of S3 and of the Security Token Service, without what serves them.
func operations() []route.Row[struct{}] {
	return slices.Concat(withoutHandlers(s3api.Routes()), withoutHandlers(sts.Routes()))
}

func withoutHandlers[H any](table []route.Row[H]) []route.Row[struct{}] {
	var out []route.Row[struct{}]
	for i := range table {
		r := &table[i]
		out = append(out, route.Row[struct{}]{
			Op: r.Op, Scope: r.Scope, Method: r.Method, Sub: r.Sub, Header: r.Header, Action: r.Action, Params: r.Params, Headers: r.Headers, Why: r.Why,
		})
	}
	return out
}

func TestCompatibilityPageNamesEveryAdminRouteAsItIs(t *testing.T) {
	t.Parallel()
	table := adminapi.Routes()
	for i := range table {
		table[i].Scope = route.Admin
	}
	comparePage(t, "Admin API, keys, metrics", table)
}

// comparePage compares the tables of a section with routes, both ways.
func comparePage[H any](t *testing.T, section string, table []route.Row[H]) {
	t.Helper()
	rows := make(map[string][]string)
	for _, line := range documentedSection(t, section) {
		if !strings.HasPrefix(line, "|") || strings.HasPrefix(line, "|---") || strings.HasPrefix(line, "| Operation |") {
			continue
		}
		cells := tableCells(line)
		if len(cells) != 5 {
			t.Errorf("this row has %d cells and not 5: %s", len(cells), line)
			continue
		}
		if _, twice := rows[cells[0]]; twice {
			t.Errorf("%s stands twice on the page", cells[0])
		}
		rows[cells[0]] = cells
	}
	for i := range table {
		r := &table[i]
		want := documentedRow(r)
		cells, ok := rows[r.Op]
		delete(rows, r.Op)
		if !ok {
			t.Errorf("%s is missing; add: | %s | ... |", r.Op, strings.Join(want, " | "))
			continue
		}
		if got := cells[:4]; strings.Join(got, "|") != strings.Join(want, "|") {
			t.Errorf("%s:\n page  | %s |\n route | %s |", r.Op, strings.Join(got, " | "), strings.Join(want, " | "))
		}
		if !strings.Contains(cells[4], r.Why) {
			t.Errorf("%s: the notes do not say why it is refused: %q", r.Op, r.Why)
		}
	}
	for op := range rows {
		t.Errorf("the page names %s, which is no route", op)
	}
}

// TestCompatibilityPageNamesTheTestsOfEveryOperation holds that each operation has
// one row by mode, and that the tests which the rows name exist.
func TestCompatibilityPageNamesTheTestsOfEveryOperation(t *testing.T) {
	t.Parallel()
	exist := testNames(t, "../integration", ".")
	open := make(map[string]bool)
	for _, r := range operations() {
		open[r.Op] = true
	}
	for _, line := range documentedSection(t, "Operation by mode, and the tests that show it") {
		cells := tableCells(line)
		if len(cells) != 6 || cells[0] == "Operations" || strings.HasPrefix(cells[0], "---") {
			continue
		}
		for op := range strings.SplitSeq(cells[0], ", ") {
			if !open[op] {
				t.Errorf("%s is no route, or has two rows", op)
			}
			delete(open, op)
		}
		for name := range strings.SplitSeq(cells[5], ", ") {
			if !exist[strings.Trim(name, "`")] {
				t.Errorf("%s: there is no test %s", cells[0], name)
			}
		}
	}
	for op := range open {
		t.Errorf("%s has no row", op)
	}
}

var testFunction = regexp.MustCompile(`(?m)^func (Test\w+)\(`)

func testNames(t *testing.T, folders ...string) map[string]bool {
	t.Helper()
	names := make(map[string]bool)
	for _, folder := range folders {
		files, err := filepath.Glob(filepath.Join(folder, "*_test.go"))
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range files {
			source, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			for _, match := range testFunction.FindAllSubmatch(source, -1) {
				names[string(match[1])] = true
			}
		}
	}
	return names
}
