package proxy

import (
	"os"
	"strings"
	"testing"
)

// documentedRow is a route as docs/compatibility.md writes it, without the notes.
func documentedRow(r *route) []string {
	request := r.method + " " + map[scope]string{scopeService: "/", scopeBucket: "/BUCKET", scopeObject: "/BUCKET/KEY", scopeAdmin: adminRoot + r.path}[r.scope]
	if len(r.sub) > 0 {
		request += "?" + strings.Join(r.sub, "&")
	}
	request = "`" + request + "`"
	if r.header != "" {
		request += " with `" + strings.ToLower(r.header) + "`"
	}
	var further []string
	for _, name := range r.params {
		further = append(further, "`"+name+"`")
	}
	for _, name := range r.headers {
		further = append(further, "`"+strings.ToLower(name)+"`")
	}
	happens := map[action]string{translate: "translated", forward: "forwarded", refuse: "refused"}[r.action]
	return []string{r.op, request, happens, strings.Join(further, ", ")}
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
	comparePage(t, "Operations", routes())
}

func TestCompatibilityPageNamesEveryAdminRouteAsItIs(t *testing.T) {
	t.Parallel()
	table := adminRoutes()
	for i := range table {
		table[i].scope = scopeAdmin
	}
	comparePage(t, "Admin API, keys, metrics", table)
}

// comparePage compares the tables of a section with routes, both ways.
func comparePage(t *testing.T, section string, table []route) {
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
		cells, ok := rows[r.op]
		delete(rows, r.op)
		if !ok {
			t.Errorf("%s is missing; add: | %s | ... |", r.op, strings.Join(want, " | "))
			continue
		}
		if got := cells[:4]; strings.Join(got, "|") != strings.Join(want, "|") {
			t.Errorf("%s:\n page  | %s |\n route | %s |", r.op, strings.Join(got, " | "), strings.Join(want, " | "))
		}
		if !strings.Contains(cells[4], r.why) {
			t.Errorf("%s: the notes do not say why it is refused: %q", r.op, r.why)
		}
	}
	for op := range rows {
		t.Errorf("the page names %s, which is no route", op)
	}
}
