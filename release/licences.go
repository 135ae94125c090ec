package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
)

// module is a module, or Go's standard library, of which something is linked.
type module struct {
	path    string
	version string
	// sum is go.sum's; "" for the standard library.
	sum string
	// licence is an SPDX expression of all licences in texts.
	licence string
	// texts are licence files, by their names below the module.
	texts map[string]string
	// notices are NOTICE files, likewise.
	notices map[string]string
}

// standardLibrary is what the Go project calls its own module.
const standardLibrary = "std"

// permitted are the licences that may be linked into an Apache-2.0 program without
// conditions on its own source.
var permitted = []string{"Apache-2.0", "BSD-2-Clause", "BSD-3-Clause", "CC0-1.0", "ISC", "MIT"}

var (
	errNoLicence      = errors.New("no licence file was found")
	errUnknownLicence = errors.New("the licence is not one that is known and permitted")
)

// listed is what `go list -deps -json` says of a package.
type listed struct {
	ImportPath string
	Dir        string
	Standard   bool
	Module     *struct {
		Path, Version, Dir string
		Main               bool
		Replace            *struct{ Path string }
	}
}

// linked returns the modules of which b holds packages, with their licences, by path.
// What the toolchain noted in the binary and what go list says must agree.
func linked(ctx context.Context, src string, b *binary) ([]*module, error) {
	packages, err := packagesOf(ctx, src, b.target)
	if err != nil {
		return nil, err
	}
	sums := make(map[string]string)
	for _, d := range b.info.Deps {
		sums[d.Path+"@"+d.Version] = d.Sum
	}
	modules, err := gather(packages)
	if err != nil {
		return nil, err
	}
	for _, m := range modules {
		if m.path == standardLibrary {
			m.version = b.info.GoVersion
			continue
		}
		sum, ok := sums[m.path+"@"+m.version]
		if !ok {
			return nil, fmt.Errorf("%s %s is not in the binary, but go list says so", m.path, m.version)
		}
		m.sum = sum
		delete(sums, m.path+"@"+m.version)
	}
	if len(sums) > 0 {
		return nil, fmt.Errorf("the binary holds modules that go list does not know: %v", sums)
	}
	return modules, nil
}

// packagesOf lists what is linked for a target.
func packagesOf(ctx context.Context, src string, t target) ([]listed, error) {
	cmd := exec.CommandContext(ctx, "go", "list", "-deps", "-mod=readonly", "-json=ImportPath,Dir,Standard,Module", "./cmd/bucketseal")
	cmd.Dir, cmd.Env, cmd.Stderr = src, environment(t), os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("go list: %w", err)
	}
	var packages []listed
	for d := json.NewDecoder(bytes.NewReader(out)); ; {
		var p listed
		if err := d.Decode(&p); err == io.EOF {
			return packages, nil
		} else if err != nil {
			return nil, err
		}
		packages = append(packages, p)
	}
}

// gather finds the licences of packages: those in their folder, and in each folder
// above it in the module.
func gather(packages []listed) ([]*module, error) {
	found := make(map[string]*module)
	for _, p := range packages {
		path, version, root := standardLibrary, "", runtime.GOROOT() //nolint:staticcheck // the release is built where Go is installed
		switch {
		case p.Standard:
			if env := os.Getenv("GOROOT"); env != "" {
				root = env
			}
			if i := strings.LastIndex(filepath.ToSlash(p.Dir), "/src/"); i >= 0 {
				root = p.Dir[:i]
			}
		case p.Module == nil || p.Module.Main:
			continue
		case p.Module.Replace != nil:
			return nil, fmt.Errorf("%s is replaced; a release is built from modules as they were published", p.Module.Path)
		default:
			path, version, root = p.Module.Path, p.Module.Version, p.Module.Dir
		}
		m := found[path]
		if m == nil {
			m = &module{path: path, version: version, texts: make(map[string]string), notices: make(map[string]string)}
			found[path] = m
		}
		if err := m.collect(root, p.Dir); err != nil {
			return nil, err
		}
	}
	var modules []*module
	for _, m := range found {
		if err := m.classify(); err != nil {
			return nil, err
		}
		modules = append(modules, m)
	}
	slices.SortFunc(modules, func(a, b *module) int { return strings.Compare(a.path, b.path) })
	return modules, nil
}

// collect reads the licence files of dir and of the folders above it, up to root.
func (m *module) collect(root, dir string) error {
	for {
		entries, err := os.ReadDir(dir)
		if err != nil {
			return err
		}
		for _, e := range entries {
			into := m.kind(e.Name())
			if into == nil || e.IsDir() {
				continue
			}
			rel, err := filepath.Rel(root, filepath.Join(dir, e.Name()))
			if err != nil {
				return err
			}
			text, err := os.ReadFile(filepath.Join(dir, e.Name()))
			if err != nil {
				return err
			}
			into[filepath.ToSlash(rel)] = strings.ReplaceAll(string(text), "\r\n", "\n")
		}
		if dir == root || !strings.HasPrefix(dir, root) {
			return nil
		}
		dir = filepath.Dir(dir)
	}
}

// kind says what a file of that name is; nil for neither licence nor notice.
func (m *module) kind(name string) map[string]string {
	upper := strings.ToUpper(name)
	if strings.HasSuffix(upper, ".GO") {
		return nil
	}
	for _, prefix := range []string{"LICENSE", "LICENCE", "COPYING", "PATENTS"} {
		if strings.HasPrefix(upper, prefix) {
			return m.texts
		}
	}
	if strings.HasPrefix(upper, "NOTICE") {
		return m.notices
	}
	return nil
}

// classify names the licences.
func (m *module) classify() error {
	var ids []string
	for name, text := range m.texts {
		if strings.HasPrefix(strings.ToUpper(filepath.Base(name)), "PATENTS") {
			continue
		}
		id := identify(text)
		if len(id) == 0 {
			return fmt.Errorf("%s %s, %s: %w", m.path, m.version, name, errUnknownLicence)
		}
		ids = append(ids, id...)
	}
	if len(ids) == 0 {
		return fmt.Errorf("%s %s: %w", m.path, m.version, errNoLicence)
	}
	slices.Sort(ids)
	m.licence = strings.Join(slices.Compact(ids), " AND ")
	return nil
}

// identify returns the SPDX names of all permitted licences in a text, nil if there is
// none or one that is not permitted.
func identify(text string) (ids []string) {
	plain := strings.ToLower(strings.Join(strings.Fields(text), " "))
	for _, word := range []string{"gnu general public", "gnu lesser", "gnu affero", "mozilla public", "eclipse public", "server side public", "business source", "commons clause", "elastic license"} {
		if strings.Contains(plain, word) {
			return nil
		}
	}
	has := func(words ...string) bool {
		for _, w := range words {
			if !strings.Contains(plain, w) {
				return false
			}
		}
		return true
	}
	if has("apache license", "version 2.0", "apache.org/licenses") {
		ids = append(ids, "Apache-2.0")
	}
	if has("permission is hereby granted, free of charge, to any person obtaining a copy", "the software is provided") {
		ids = append(ids, "MIT")
	}
	if has("permission to use, copy, modify, and", "distribute this software for any purpose", "with or without fee is hereby granted") {
		ids = append(ids, "ISC")
	}
	if has("redistribution and use in source and binary forms", "this list of conditions") {
		if has("to endorse or promote products derived from") {
			ids = append(ids, "BSD-3-Clause")
		} else {
			ids = append(ids, "BSD-2-Clause")
		}
	}
	if has("cc0 1.0 universal") {
		ids = append(ids, "CC0-1.0")
	}
	for _, id := range ids {
		if !slices.Contains(permitted, id) {
			return nil
		}
	}
	return ids
}
