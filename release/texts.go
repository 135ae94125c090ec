package main

import (
	"context"
	"flag"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// licenceTexts is the file THIRD_PARTY_LICENSES.
func licenceTexts(modules []*module) (string, error) {
	var b strings.Builder
	b.WriteString("bucketseal is licensed under the Apache License, Version 2.0: see LICENSE. It contains the following software, under these terms.\n")
	for _, m := range modules {
		fmt.Fprintf(&b, "\n%s\n%s (%s)\n%[1]s\n", strings.Repeat("=", 80), m.title(), m.licence)
		for _, name := range slices.Sorted(maps.Keys(m.texts)) {
			fmt.Fprintf(&b, "\n--- %s\n\n%s\n", name, strings.TrimRight(m.texts[name], "\n"))
		}
	}
	return b.String(), nil
}

// noticeText is the file NOTICE: the project's own, and the notices that Apache-2.0
// says must be passed on.
func noticeText(modules []*module) string {
	var b strings.Builder
	b.WriteString("bucketseal\nCopyright the bucketseal authors\n\nLicensed under the Apache License, Version 2.0 (LICENSE).\n" +
		"Licences of the software that it contains are in THIRD_PARTY_LICENSES.\n")
	for _, m := range modules {
		for _, name := range slices.Sorted(maps.Keys(m.notices)) {
			fmt.Fprintf(&b, "\n%s\nNotice of %s\n%[1]s\n\n%[3]s\n", strings.Repeat("-", 80), m.title(), strings.TrimRight(m.notices[name], "\n"))
		}
	}
	return b.String()
}

// title is what people read as the module's name.
func (m *module) title() string {
	if m.path == standardLibrary {
		return strings.TrimSpace("The Go standard library and runtime " + m.version)
	}
	return m.path + " " + m.version
}

// licencesCommand checks what is linked for every target.
func licencesCommand(ctx context.Context, args []string) error {
	set := flag.NewFlagSet("release licences", flag.ContinueOnError)
	src := set.String("src", ".", "the checkout")
	if err := set.Parse(args); err != nil {
		return err
	}
	found := make(map[string]string)
	for _, name := range allTargets {
		t, err := parseTarget(name)
		if err != nil {
			return err
		}
		packages, err := packagesOf(ctx, *src, t)
		if err != nil {
			return err
		}
		modules, err := gather(packages)
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		for _, m := range modules {
			found[m.title()] = m.licence
		}
	}
	for _, title := range slices.Sorted(maps.Keys(found)) {
		fmt.Printf("%-24s %s\n", found[title], title)
	}
	return nil
}
