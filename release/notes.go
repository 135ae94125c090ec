package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
)

var errNoNotes = errors.New("CHANGELOG.md has no section of this version")

// released is a version that was tagged, and not one that Go makes up between tags.
var released = regexp.MustCompile(`^v[0-9]+\.[0-9]+\.[0-9]+(-(alpha|beta|rc)[.0-9]*)?$`)

// notesOf returns the section of CHANGELOG.md of a version. One between releases has
// what is not released yet.
func notesOf(src, version string) (string, error) {
	data, err := os.ReadFile(filepath.Join(src, "CHANGELOG.md"))
	if err != nil {
		return "", err
	}
	heading := "Unreleased"
	if released.MatchString(version) {
		heading = strings.TrimPrefix(version, "v")
	}
	text, ok := section(string(data), heading)
	if !ok {
		return "", fmt.Errorf("%s: %w", heading, errNoNotes)
	}
	return "# bucketseal " + version + "\n\n" + text, nil
}

// section returns what stands below "## [name]".
func section(changelog, name string) (string, bool) {
	_, rest, ok := strings.Cut("\n"+changelog, "\n## ["+name+"]")
	if !ok {
		return "", false
	}
	_, rest, _ = strings.Cut(rest, "\n")
	if end := strings.Index("\n"+rest, "\n## "); end >= 0 {
		rest = rest[:max(0, end-1)]
	}
	return strings.TrimSpace(rest) + "\n", true
}
