package main

import (
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// checkout makes a repository of the files of this one, as they are now, in a folder of
// its own: the same commit everywhere.
func checkout(t *testing.T, folder string) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), folder)
	out, err := exec.Command("git", "-C", "..", "ls-files", "-z", "--cached", "--others", "--exclude-standard").Output()
	if err != nil {
		t.Skip("not a git checkout: ", err)
	}
	for name := range strings.SplitSeq(strings.TrimSuffix(string(out), "\x00"), "\x00") {
		data, err := os.ReadFile(filepath.Join("..", name))
		if os.IsNotExist(err) {
			continue // removed, and not committed yet
		}
		if err != nil {
			t.Fatal(err)
		}
		if err := os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for _, args := range [][]string{{"init", "-q"}, {"add", "-A"}, {"commit", "-q", "-m", "as it is"}} {
		cmd := exec.Command("git", append([]string{"-c", "user.name=x", "-c", "user.email=x@example.org", "-c", "core.fileMode=false"}, args...)...)
		cmd.Dir = dir
		cmd.Env = append(os.Environ(), "GIT_AUTHOR_DATE=2026-01-02T03:04:05Z", "GIT_COMMITTER_DATE=2026-01-02T03:04:05Z")
		if said, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("git %v: %v: %s", args, err, said)
		}
	}
	return dir
}

// The same commit, checked out in two places, gives the same bytes. With BUCKETSEAL_LONG
// nothing that was compiled for the first is used for the second, and all systems are
// built for.
func TestTheSameCommitGivesTheSameBytes(t *testing.T) {
	targets := "linux/amd64"
	if os.Getenv("BUCKETSEAL_LONG") != "" {
		targets = strings.Join(allTargets, ",")
	}
	nfpm := os.Getenv("NFPM_BIN")
	if nfpm == "" {
		t.Log("NFPM_BIN is not set: no packages are built")
	}
	var sums [2]map[string]string
	var dist string
	first := checkout(t, "a")
	second := filepath.Join(t.TempDir(), "another", "place")
	if said, err := exec.Command("git", "clone", "-q", first, second).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, said)
	}
	for i, src := range []string{first, second} {
		if i > 0 && os.Getenv("BUCKETSEAL_LONG") != "" {
			t.Setenv("GOCACHE", t.TempDir())
		}
		dist = filepath.Join(t.TempDir(), "dist")
		if err := release(t.Context(), flags{src: src, out: dist, nfpm: nfpm, targets: targets}); err != nil {
			t.Fatal(err)
		}
		sums[i] = sumsOf(t, dist)
	}
	for name, sum := range sums[0] {
		if sums[1][name] != sum {
			t.Errorf("%s differs", name)
		}
	}
	if len(sums[0]) != len(sums[1]) || len(sums[0]) < 4 {
		t.Errorf("%d and %d files", len(sums[0]), len(sums[1]))
	}
	checkDelivery(t, dist, nfpm != "")
}

func sumsOf(t *testing.T, dir string) map[string]string {
	t.Helper()
	sums := make(map[string]string)
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		data, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if err != nil {
			t.Fatal(err)
		}
		sums[e.Name()] = fmt.Sprintf("%x", sha256.Sum256(data))
	}
	return sums
}

// checkDelivery looks into what was built.
func checkDelivery(t *testing.T, dist string, packages bool) {
	t.Helper()
	check := exec.Command("sha256sum", "--strict", "-c", "SHA256SUMS")
	check.Dir = dist
	if said, err := check.CombinedOutput(); err != nil {
		t.Errorf("%v: %s", err, said)
	}
	archives, _ := filepath.Glob(filepath.Join(dist, "*_linux_amd64.tar.gz"))
	if len(archives) != 1 {
		t.Fatalf("archives %q", archives)
	}
	dir := t.TempDir()
	if said, err := exec.Command("tar", "-C", dir, "--strip-components=1", "-xzf", archives[0]).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, said)
	}
	for file, want := range map[string]string{
		"LICENSE": "Apache License", "NOTICE": "MinIO Cloud Storage", "THIRD_PARTY_LICENSES": "The Go standard library", "CHANGES.md": "### Added",
		"systemd/bucketseal.service": "ExecStart=",
	} {
		if text, err := os.ReadFile(filepath.Join(dir, file)); err != nil || !strings.Contains(string(text), want) {
			t.Errorf("%s has no %q: %v", file, want, err)
		}
	}
	said, err := exec.Command(filepath.Join(dir, "bucketseal"), "version").CombinedOutput()
	if err != nil || !strings.Contains(string(said), "v0.0.0-20260102030405-") || strings.Contains(string(said), "modified") {
		t.Errorf("%v: %s", err, said)
	}
	checkSPDX(t, strings.TrimSuffix(archives[0], ".tar.gz")+".spdx.json", filepath.Join(dir, "bucketseal"))
	if packages {
		checkPackages(t, strings.TrimSuffix(archives[0], ".tar.gz"))
	}
	checkEmulated(t, dist)
}

// checkPackages looks into the packages of which base is the path without .deb or .rpm.
func checkPackages(t *testing.T, base string) {
	t.Helper()
	for _, look := range []struct {
		with []string
		want []string
	}{
		{[]string{"dpkg-deb", "-c", base + ".deb"}, []string{
			"./usr/bin/bucketseal", "./usr/lib/systemd/system/bucketseal.socket", "./usr/lib/systemd/system/bucketseal-console.socket", "./usr/share/doc/bucketseal/copyright",
		}},
		{[]string{"rpm", "-q", "--list", "--scripts", "--requires", "-p", base + ".rpm"}, []string{
			"/usr/bin/bucketseal", "/usr/lib/systemd/system/bucketseal.socket", "/usr/lib/systemd/system/bucketseal-console.socket", "/usr/share/doc/bucketseal/copyright",
			"postinstall scriptlet", "useradd --system", "preuninstall scriptlet", "shadow-utils",
		}},
		{[]string{"rpm", "--checksig", "--nosignature", base + ".rpm"}, []string{"digests OK"}},
	} {
		if _, err := exec.LookPath(look.with[0]); err != nil {
			t.Logf("%s is not installed: its package is not looked into", look.with[0])
			continue
		}
		said, err := exec.Command(look.with[0], look.with[1:]...).CombinedOutput()
		for _, want := range look.want {
			if err != nil || !strings.Contains(string(said), want) {
				t.Errorf("%v has no %q: %v\n%s", look.with, want, err, said)
			}
		}
	}
}

// checkEmulated starts what was built for another processor, if its emulator is installed.
func checkEmulated(t *testing.T, dist string) {
	t.Helper()
	archives, _ := filepath.Glob(filepath.Join(dist, "*_linux_arm64.tar.gz"))
	emulator, err := exec.LookPath("qemu-aarch64-static")
	if len(archives) == 0 || err != nil {
		t.Logf("%d archives for arm64, and %v: none is started", len(archives), err)
		return
	}
	dir := t.TempDir()
	if said, err := exec.Command("tar", "-C", dir, "--strip-components=1", "-xzf", archives[0]).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, said)
	}
	said, err := exec.Command(emulator, filepath.Join(dir, "bucketseal"), "version", "--json").CombinedOutput()
	if err != nil || !strings.Contains(string(said), "arm64") {
		t.Errorf("%v: %s", err, said)
	}
}

// checkSPDX holds the bill of materials to what the toolchain notes in the program.
func checkSPDX(t *testing.T, file, program string) {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var d spdxDocument
	if err := json.Unmarshal(data, &d); err != nil {
		t.Fatal(err)
	}
	listed := make(map[string]bool)
	ids := make(map[string]bool)
	for _, p := range d.Packages {
		listed[p.Name+" "+p.Version] = true
		if ids[p.ID] {
			t.Errorf("two packages are %s", p.ID)
		}
		ids[p.ID] = true
		if p.Concluded == "" || p.Concluded == spdxNone {
			t.Errorf("%s has no licence", p.Name)
		}
	}
	out, err := exec.Command("go", "version", "-m", program).Output()
	if err != nil {
		t.Fatal(err)
	}
	deps := 0
	for line := range strings.SplitSeq(string(out), "\n") {
		if f := strings.Fields(line); len(f) >= 3 && f[0] == "dep" {
			if deps++; !listed[f[1]+" "+f[2]] {
				t.Errorf("%s %s is in the program and not listed", f[1], f[2])
			}
		}
	}
	if deps == 0 || len(d.Packages) != deps+2 { // the program and the standard library
		t.Errorf("%d packages for %d modules", len(d.Packages), deps)
	}
	for _, r := range d.Relationships {
		if !ids[r.To] {
			t.Errorf("%s is related and not there", r.To)
		}
	}
}

func TestLicencesAreKnownByTheirTexts(t *testing.T) {
	t.Parallel()
	mit := "Permission is hereby granted, free of charge, to any person obtaining a\ncopy ... THE SOFTWARE IS PROVIDED"
	for text, want := range map[string][]string{
		mit: {"MIT"},
		"Redistribution and use in source and binary forms ... this list of conditions": {"BSD-2-Clause"},
		"Apache License Version 2.0 http://www.apache.org/licenses/ \n" + mit:           {"Apache-2.0", "MIT"},
		"GNU AFFERO GENERAL PUBLIC LICENSE":                                             nil,
		mit + " Mozilla Public License":                                                 nil,
		"All rights reserved.":                                                          nil,
	} {
		if got := identify(text); !slices.Equal(got, want) {
			t.Errorf("%.60q: %q, want %q", text, got, want)
		}
	}
}

func TestVersionsOfPackagesSortAsTheyCame(t *testing.T) {
	t.Parallel()
	for version, want := range map[string]string{
		"v1.2.3": "1.2.3", "v1.2.3-rc.1": "1.2.3~rc.1", "v0.0.0-20260102030405-0123456789ab": "0.0.0~20260102030405.0123456789ab",
	} {
		if got := packageVersion(version); got != want {
			t.Errorf("%s is %s, want %s", version, got, want)
		}
	}
}

func TestNotesAreTheVersionsSection(t *testing.T) {
	t.Parallel()
	log := "# Changelog\n\n## [Unreleased]\n\n- new\n\n## [1.2.0] - 2026-01-01\n\n### Fixed\n\n- b\n\n## [1.1.0]\n\n- old\n"
	for name, want := range map[string]string{"Unreleased": "- new\n", "1.2.0": "### Fixed\n\n- b\n", "1.1.0": "- old\n"} {
		if got, ok := section(log, name); !ok || got != want {
			t.Errorf("%s: %q, %v", name, got, ok)
		}
	}
	if _, ok := section(log, "1.2"); ok {
		t.Error("1.2 has a section")
	}
	if _, err := notesOf("..", "v0.999.0"); !errors.Is(err, errNoNotes) {
		t.Errorf("a version that has none: %v", err)
	}
	if text, err := notesOf("..", "v0.999.1-0.20260102030405-0123456789ab"); err != nil || !strings.Contains(text, "### Added") {
		t.Errorf("between versions: %v", err)
	}
}
