// Package cli is what all commands have in common: the process that they run in, how
// a command line is executed and which exit code it gets, what is read of the standard
// input and printed, and the flags that stand for settings. It knows no command but
// version.
package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"
)

// App is what commands know of the process they run in. It serves one command
// line, and is not safe for concurrent use.
type App struct {
	Stdin   io.Reader
	Stdout  *Output
	Stderr  io.Writer
	Environ []string // NAME=VALUE
	KES     bool     // the command line is one of KES
	Quiet   bool     // no progress is shown
}

// New returns the process with these streams and this environment, NAME=VALUE.
func New(stdin io.Reader, stdout, stderr io.Writer, environ []string) *App {
	return &App{Stdin: stdin, Stdout: &Output{w: stdout}, Stderr: stderr, Environ: environ}
}

// Execute runs the command below root that args name. It writes what failed to the
// standard error and returns the exit code: 0, 1 for a failure, 2 for a wrong
// command line.
func (a *App) Execute(ctx context.Context, root *cobra.Command, args []string) int {
	a.prepare(root)
	root.SetArgs(args)
	err := root.ExecuteContext(ctx)
	if lost := a.Stdout.Sync(); err == nil && lost != nil {
		err = fmt.Errorf("the output was lost: %w", lost)
	}
	if err == nil {
		return 0
	}
	for line := range strings.SplitSeq(err.Error(), "\n") {
		fmt.Fprintln(a.Stderr, root.Name()+":", line)
	}
	if _, ok := errors.AsType[usageError](err); ok {
		return 2
	}
	return 1
}

// usageError is a mistake on the command line.
type usageError struct{ error }

// Unwrap returns the cause.
func (e usageError) Unwrap() error { return e.error }

// Usage returns err as a mistake on the command line: the exit code is 2.
func Usage(err error) error { return usageError{err} }

// prepare makes root the command that is executed.
func (a *App) prepare(root *cobra.Command) {
	root.SilenceErrors, root.SilenceUsage = true, true
	root.SetIn(a.Stdin)
	root.SetOut(a.Stdout)
	root.SetErr(a.Stderr)
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return Usage(fmt.Errorf("%w; see %s --help", err, cmd.CommandPath()))
	})
	usageErrors(root)
}

// Getenv returns the value of the first variable that has one.
func (a *App) Getenv(names ...string) string {
	for _, name := range names {
		if value, _ := a.LookupEnv(name); value != "" {
			return value
		}
	}
	return ""
}

// LookupEnv is os.LookupEnv for the environment of the App.
func (a *App) LookupEnv(name string) (string, bool) {
	for i := len(a.Environ) - 1; i >= 0; i-- {
		if value, ok := strings.CutPrefix(a.Environ[i], name+"="); ok {
			return value, true
		}
	}
	return "", false
}

// WarnOfArgument says that a secret is where it should not be.
func (a *App) WarnOfArgument(what string) {
	fmt.Fprintf(a.Stderr, "warning: %s on the command line can be read by every user of this machine\n", what)
}
