// Package clock builds programs with a clock that can be set: the product, and MinIO. They are linked
// statically, so that no library can be put before them: Go's own time package is replaced while they are built,
// by an overlay, and their source stays as it is.
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

// Variable names, in a program's environment, the file that says by how many seconds its clock is wrong. It is
// read five times a second.
const Variable = "CHAOS_CLOCK"

// What is changed in time.Now, which every other function of the package goes by.
const (
	imports    = "import (\n"
	asked      = "func Now() Time {\n\tsec, nsec, mono := runtimeNow()\n"
	askedWrong = asked + "\tsec += chaosSeconds.Load()\n"
)

// reader is added to the package. It can use neither os nor strconv, which import it.
const reader = `
// chaosSeconds is by how much Now is wrong.
var chaosSeconds atomic.Int64

func init() {
	file, found := syscall.Getenv("` + Variable + `")
	if !found || file == "" {
		return
	}
	chaosRead(file)
	go func() {
		for {
			Sleep(200 * Millisecond)
			chaosRead(file)
		}
	}()
}

func chaosRead(file string) {
	fd, err := syscall.Open(file, syscall.O_RDONLY|syscall.O_CLOEXEC, 0)
	if err != nil {
		return
	}
	var text [24]byte
	n, err := syscall.Read(fd, text[:])
	syscall.Close(fd)
	if err != nil || n <= 0 || n == len(text) {
		return
	}
	seconds, sign := int64(0), int64(1)
	for i, c := range text[:n] {
		switch {
		case i == 0 && c == '-' && n > 1:
			sign = -1
		case c >= '0' && c <= '9':
			seconds = 10*seconds + int64(c-'0')
		default:
			return
		}
	}
	chaosSeconds.Store(sign * seconds)
}
`

// ErrOtherGo says that the time package of the Go that builds is not the one that is known here.
var ErrOtherGo = errors.New("the function time.Now of this Go is another than expected")

// wrong is time.go with a clock that can be set.
func wrong(source string) (string, error) {
	if strings.Count(source, asked) != 1 || strings.Count(source, imports) != 1 {
		return "", ErrOtherGo
	}
	source = strings.Replace(source, imports, imports+"\t\"sync/atomic\"\n\t\"syscall\"\n", 1)
	return strings.Replace(source, asked, askedWrong, 1) + reader, nil
}

// Build builds cmd/bucketseal of the module in folder root to the file out. It takes about a minute, since all
// of Go's library is built anew, and little when it was built before.
func Build(ctx context.Context, root, out string) error {
	return build(ctx, out, func(overlay, out string) *exec.Cmd {
		cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-buildvcs=false", "-overlay", overlay, "-o", out, "./cmd/bucketseal")
		cmd.Dir = root
		return cmd
	})
}

// Install builds a command of another module, as in github.com/minio/minio@VERSION, to the file out. MinIO takes
// some minutes.
func Install(ctx context.Context, command, out string) error {
	dir, err := os.MkdirTemp(filepath.Dir(out), ".clocked-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	name, _, _ := strings.Cut(command, "@")
	err = build(ctx, dir, func(overlay, dir string) *exec.Cmd {
		cmd := exec.CommandContext(ctx, "go", "install", "-trimpath", "-overlay", overlay, command)
		cmd.Dir, cmd.Env = dir, append(os.Environ(), "GOFLAGS=", "GOBIN="+dir)
		return cmd
	})
	if err != nil {
		return err
	}
	return os.Rename(filepath.Join(dir, filepath.Base(name)), out)
}

// build has the go command build something to out with the overlay.
func build(ctx context.Context, out string, command func(overlay, out string) *exec.Cmd) error {
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
	overlay, err := json.Marshal(map[string]any{"Replace": map[string]string{path: filepath.Join(dir, "time.go")}})
	if err != nil {
		return err
	}
	for name, text := range map[string]string{"time.go": changed, "overlay.json": string(overlay)} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			return err
		}
	}
	if out, err = filepath.Abs(out); err != nil {
		return err
	}
	cmd := command(filepath.Join(dir, "overlay.json"), out)
	if cmd.Env == nil {
		cmd.Env = os.Environ()
	}
	cmd.Env = append(cmd.Env, "CGO_ENABLED=0")
	if said, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w: %s", strings.Join(cmd.Args[:2], " "), err, said)
	}
	return nil
}
