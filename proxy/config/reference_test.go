package config

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const referencePage = "docs/configuration.md"

// Types, defaults, variables and flags of the reference are written from Settings, and so is
// the list of what changes while a server runs. What a setting means is written by hand; one
// without a row gets its line of help for that.
func TestTheReferenceIsWrittenFromTheSettings(t *testing.T) {
	t.Parallel()
	page := readRepo(t, referencePage)
	want := withLiveSettings(withReference(page))
	if want == page {
		return
	}
	if os.Getenv("BUCKETSEAL_WRITE_DOCS") == "1" {
		if err := os.WriteFile(filepath.Join("..", "..", referencePage), []byte(want), 0o600); err != nil {
			t.Fatal(err)
		}
		return
	}
	for i, line := range strings.Split(page, "\n") {
		if now := strings.Split(want, "\n"); i < len(now) && now[i] != line {
			t.Fatalf("%s:%d is not what the settings say; BUCKETSEAL_WRITE_DOCS=1 go test ./proxy/config -run Reference writes\n%s\ninstead of\n%s", referencePage, i+1, now[i], line)
		}
	}
	t.Fatalf("%s has lines too many", referencePage)
}

// A changed setting, a row that is missing and a stale list are seen and mended.
func TestTheReferenceIsMended(t *testing.T) {
	t.Parallel()
	page := readRepo(t, referencePage)
	for name, broken := range map[string]string{
		"default": strings.Replace(page, "| duration | `30s` |", "| duration | `31s` |", 1),
		"flag":    strings.Replace(page, "| `--upstream` |", "| — |", 1),
		"list":    strings.Replace(page, liveBegin+"\n", liveBegin+"\n`address`, ", 1),
	} {
		if broken == page {
			t.Errorf("%s: nothing was broken", name)
		}
		if withLiveSettings(withReference(broken)) != page {
			t.Errorf("%s: the page is not mended", name)
		}
	}
	cut := slices.DeleteFunc(strings.Split(page, "\n"), func(l string) bool { return strings.HasPrefix(l, "| `limits.idle` |") })
	if again := withReference(strings.Join(cut, "\n")); !strings.Contains(again, "| `limits.idle` | duration | `90s` | — | — | ") {
		t.Error("a setting without a row gets none")
	}
}

// row is a setting's line of the reference. Cells that Settings does not know stay.
func (s Setting) row(old []string) string {
	cells := []string{"`" + s.Path + "`", string(s.Type), "—", "—", "—", s.Usage}
	if old != nil {
		cells[2], cells[3], cells[5] = old[2], old[3], old[5]
	}
	if s.Default != "" {
		cells[2] = "`" + s.Default + "`"
	}
	if s.Env != "" {
		cells[3] = "`" + s.Env + "`"
	}
	if s.Flag != "" {
		cells[4] = "`--" + s.Flag + "`"
	}
	return "| " + strings.Join(cells, " | ") + " |"
}

// withReference returns the page with its rows as the settings have them.
func withReference(page string) string {
	lines := strings.Split(page, "\n")
	at := 0 // the line of the setting before
	for _, s := range Settings() {
		i := slices.IndexFunc(lines, func(l string) bool { return strings.HasPrefix(l, "| `"+s.Path+"` |") })
		if i < 0 {
			lines = slices.Insert(lines, at+1, s.row(nil))
			at++
			continue
		}
		cells := strings.Split(strings.Trim(lines[i], "| "), " | ")
		if len(cells) == 6 {
			lines[i] = s.row(cells)
		}
		at = i
	}
	return strings.Join(lines, "\n")
}

const liveBegin, liveEnd = "<!-- settings that change while the server runs -->", "<!-- end -->"

// withLiveSettings returns the page with the list of what changes while a server runs.
func withLiveSettings(page string) string {
	before, rest, ok := strings.Cut(page, liveBegin)
	_, after, ended := strings.Cut(rest, liveEnd)
	if !ok || !ended {
		return page + "\n" + liveBegin + " " + liveEnd + " are missing"
	}
	var list strings.Builder
	column := 0
	for i, path := range livePaths() {
		word := "`" + path + "`"
		if i < len(livePaths())-1 {
			word += ","
		}
		if column > 0 && column+1+len(word) > 100 {
			list.WriteString("\n")
			column = 0
		} else if column > 0 {
			list.WriteString(" ")
			column++
		}
		list.WriteString(word)
		column += len(word)
	}
	return before + liveBegin + "\n" + list.String() + "\n" + liveEnd + after
}
