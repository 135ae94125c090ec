// Package clock builds the product with a clock that can be set. Its programs are linked statically, so that
// no library can be put before them: Go's own time package is replaced while it is built, by an overlay, and
// the product's source stays as it is.
package clock

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// Variable names the file that says by how many seconds the clock is wrong; it is read five times a second.
const Variable = "CHAOS_CLOCK"

// What is changed in time.Now, which every other function of the package goes by.
const (
	imports    = "import (\n"
	asked      = "func Now() Time {\n\tsec, nsec, mono := runtimeNow()\n"
	askedWrong = asked + "\tsec += ChaosSeconds.Load()\n"
	variable   = "\n// ChaosSeconds is by how much Now is wrong.\nvar ChaosSeconds atomic.Int64\n"
)

const reader = `package main

import (
	"os"
	"strconv"
	"time"
)

func init() {
	file := os.Getenv("` + Variable + `")
	if file == "" {
		return
	}
	look := func() {
		if text, err := os.ReadFile(file); err == nil {
			if seconds, err := strconv.ParseInt(string(text), 10, 64); err == nil {
				time.ChaosSeconds.Store(seconds)
			}
		}
	}
	look()
	go func() {
		for {
			time.Sleep(200 * time.Millisecond)
			look()
		}
	}()
}
`

// ErrOtherGo says that the time package of the Go that builds is not the one that is known here.
var ErrOtherGo = errors.New("the function time.Now of this Go is another than expected")

// wrong is time.go with a clock that can be set.
func wrong(source string) (string, error) {
	if strings.Count(source, asked) != 1 || !strings.Contains(source, imports) {
		return "", ErrOtherGo
	}
	source = strings.Replace(source, imports, imports+"\t\"sync/atomic\"\n", 1)
	return strings.Replace(source, asked, askedWrong, 1) + variable, nil
}

// Build builds cmd/bucketseal of the module in folder root to the file out. It takes about a minute, since all
// of Go's library is built anew, and little when it was built before.
func Build(ctx context.Context, root, out string) error {
	found, err := exec.CommandContext(ctx, "go", "env", "GOROOT").Output()
	if err != nil {
		return fmt.Errorf("go env: %w", err)
	}
	path := filepath.Join(strings.TrimSpace(string(found)), "src", "time", "time.go")
	source, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	changed, err := wrong(string(source))
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	dir, err := os.MkdirTemp("", "chaos-clock-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	if root, err = filepath.Abs(root); err != nil {
		return err
	}
	overlay, err := json.Marshal(map[string]any{"Replace": map[string]string{
		path: filepath.Join(dir, "time.go"), filepath.Join(root, "cmd", "bucketseal", "chaosclock.go"): filepath.Join(dir, "reader.go"),
	}})
	if err != nil {
		return err
	}
	for name, text := range map[string]string{"time.go": changed, "reader.go": reader, "overlay.json": string(overlay)} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			return err
		}
	}
	if out, err = filepath.Abs(out); err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-buildvcs=false", "-overlay", filepath.Join(dir, "overlay.json"), "-o", out, "./cmd/bucketseal")
	cmd.Dir, cmd.Env = root, append(os.Environ(), "CGO_ENABLED=0")
	if said, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("go build: %w: %s", err, said)
	}
	return nil
}
