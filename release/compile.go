package main

import (
	"context"
	"crypto/sha256"
	"debug/buildinfo"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strings"
	"time"
)

// allTargets are the systems that a release is built for. The servers are meant for
// Linux; elsewhere people use the commands.
var allTargets = []string{"linux/amd64", "linux/arm64", "darwin/amd64", "darwin/arm64", "windows/amd64"}

// target is what a binary runs on, in Go's words.
type target struct{ os, arch string }

func parseTarget(name string) (target, error) {
	if !slices.Contains(allTargets, name) {
		return target{}, fmt.Errorf("no release is built for %q; known: %s", name, strings.Join(allTargets, ", "))
	}
	system, arch, _ := strings.Cut(name, "/")
	return target{system, arch}, nil
}

// binary is a program that was built, with what Go noted in it.
type binary struct {
	target
	path     string
	info     *debug.BuildInfo
	version  string // with "v"
	revision string
	time     time.Time // of the commit
	sha256   string
}

// name is how files made of it begin.
func (b *binary) name() string {
	return "bucketseal_" + strings.TrimPrefix(b.version, "v") + "_" + b.target.os + "_" + b.arch
}

// program is the file's name in an archive.
func (t target) program() string {
	if t.os == "windows" {
		return "bucketseal.exe"
	}
	return "bucketseal"
}

// checkOut clones the commit that is checked out at src, with its tags. So what is not
// committed is in no release, and a work tree of another repository will do: Go tells the
// revision of none.
func checkOut(ctx context.Context, src, to string) (string, error) {
	if said, err := exec.CommandContext(ctx, "git", "clone", "--quiet", "--", src, to).CombinedOutput(); err != nil {
		return "", fmt.Errorf("git clone: %w: %s", err, said)
	}
	return to, nil
}

// errNoRevision is a build that does not say what it was made from.
var errNoRevision = errors.New("a release is built from a clean git checkout, and git told nothing of this one")

// environment is that of the Go command, without what would make a build differ from
// machine to machine.
func environment(t target) []string {
	changing := []string{"GOFLAGS", "GOAMD64", "GOARM64", "GOEXPERIMENT", "GODEBUG", "GOOS", "GOARCH", "CGO_ENABLED"}
	env := slices.DeleteFunc(os.Environ(), func(one string) bool {
		name, _, _ := strings.Cut(one, "=")
		return slices.Contains(changing, name)
	})
	return append(env, "CGO_ENABLED=0", "GOOS="+t.os, "GOARCH="+t.arch)
}

// compile builds the program into a folder.
func compile(ctx context.Context, src, folder string, t target) (*binary, error) {
	b := &binary{target: t, path: filepath.Join(folder, t.program())}
	cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-buildvcs=true", "-mod=readonly", "-ldflags=-s -w", "-o", b.path, "./cmd/bucketseal")
	cmd.Dir, cmd.Env, cmd.Stderr = src, environment(t), os.Stderr
	if err := cmd.Run(); err != nil {
		return nil, fmt.Errorf("go build: %w", err)
	}
	var err error
	if b.info, err = buildinfo.ReadFile(b.path); err != nil {
		return nil, err
	}
	for _, s := range b.info.Settings {
		switch s.Key {
		case "vcs.revision":
			b.revision = s.Value
		case "vcs.time":
			if b.time, err = time.Parse(time.RFC3339, s.Value); err != nil {
				return nil, err
			}
		}
	}
	b.version = b.info.Main.Version
	if b.revision == "" || b.time.IsZero() || !strings.HasPrefix(b.version, "v") {
		return nil, errNoRevision
	}
	data, err := os.ReadFile(b.path)
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256(data)
	b.sha256 = hex.EncodeToString(sum[:])
	return b, nil
}
