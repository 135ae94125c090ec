package integration

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode"
)

// linkedPages are all pages of the repository whose links are looked at.
func linkedPages(t *testing.T) []string {
	t.Helper()
	pages := []string{"README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md", "deploy/helm/bucketseal/README.md"}
	found, err := filepath.Glob(filepath.Join(repoRoot(), "docs", "*.md"))
	if err != nil || len(found) == 0 {
		t.Fatalf("no pages: %v", err)
	}
	for _, p := range found {
		pages = append(pages, "docs/"+filepath.Base(p))
	}
	return pages
}

var fencedText = regexp.MustCompile("(?ms)^ *```.*?^ *```$")

// anchors are the names that a page's headings have, as GitHub makes them.
func anchors(page string) []string {
	var all []string
	for line := range strings.Lines(fencedText.ReplaceAllString(page, "")) {
		title, ok := strings.CutPrefix(strings.TrimLeft(line, "#"), " ")
		if !ok || !strings.HasPrefix(line, "#") {
			continue
		}
		title = regexp.MustCompile(`\[([^\]]*)\]\([^)]*\)`).ReplaceAllString(title, "$1")
		all = append(all, strings.Map(func(r rune) rune {
			switch {
			case r == ' ', r == '-':
				return '-'
			case unicode.IsLetter(r), unicode.IsDigit(r), r == '_':
				return unicode.ToLower(r)
			}
			return -1
		}, strings.TrimSpace(title)))
	}
	return all
}

// Every link within the repository leads to a file, and to a heading of it.
func TestLinksOfTheDocumentationLeadSomewhere(t *testing.T) {
	t.Parallel()
	links := 0
	for _, page := range linkedPages(t) {
		text := fencedText.ReplaceAllString(readRepo(t, page), "")
		for _, m := range regexp.MustCompile(`\]\(([^)\s]+)\)`).FindAllStringSubmatch(text, -1) {
			if strings.Contains(m[1], "://") {
				continue
			}
			links++
			path, anchor, _ := strings.Cut(m[1], "#")
			target := page
			if path != "" {
				target = filepath.Join(filepath.Dir(page), path)
			}
			if _, err := os.Stat(filepath.Join(repoRoot(), target)); err != nil {
				t.Errorf("%s: %s is not there", page, m[1])
				continue
			}
			if anchor != "" && strings.HasSuffix(target, ".md") && !slices.Contains(anchors(readRepo(t, target)), anchor) {
				t.Errorf("%s: %s has no heading %q", page, target, anchor)
			}
		}
	}
	if links < 200 {
		t.Errorf("only %d links were found", links)
	}
}

// The map has every page.
func TestTheMapOfTheDocumentationHasEveryPage(t *testing.T) {
	t.Parallel()
	index := readRepo(t, "docs/index.md")
	for _, page := range linkedPages(t) {
		name, ok := strings.CutPrefix(page, "docs/")
		if ok && name != "index.md" && !strings.Contains(index, "("+name) {
			t.Errorf("docs/index.md does not have %s", page)
		}
	}
}
