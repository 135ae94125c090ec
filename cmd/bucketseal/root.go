package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"
)

// app is what commands know of the process they run in.
type app struct {
	stdin   io.Reader
	stdout  *sureWriter
	stderr  io.Writer
	environ []string // NAME=VALUE
	kes     bool     // the command line is one of KES
	quiet   bool     // no progress is shown
}

// exitError ends the process with a code and without a further message.
type exitError int

// Error is never shown.
func (e exitError) Error() string { return fmt.Sprintf("exit code %d", int(e)) }

// run executes one command line and returns the exit code: 0, 1 for a failure,
// 2 for a wrong command line.
func run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer, environ []string) int {
	return runAs(ctx, "bucketseal", args, stdin, stdout, stderr, environ)
}

// runAs is run for a program that was called by a name.
func runAs(ctx context.Context, program string, args []string, stdin io.Reader, stdout, stderr io.Writer, environ []string) int {
	a := &app{stdin: stdin, stdout: &sureWriter{w: stdout}, stderr: stderr, environ: environ}
	root := a.rootCommand
	if calledAsKES(program) {
		root = a.kesCommand
	}
	return a.execute(ctx, root(), args)
}

func (a *app) execute(ctx context.Context, root *cobra.Command, args []string) int {
	a.prepare(root)
	root.SetArgs(args)
	err := root.ExecuteContext(ctx)
	if lost := a.stdout.sync(); err == nil && lost != nil {
		err = fmt.Errorf("the output was lost: %w", lost)
	}
	if err == nil {
		return 0
	}
	if code, ok := errors.AsType[exitError](err); ok {
		return int(code)
	}
	for line := range strings.SplitSeq(err.Error(), "\n") {
		fmt.Fprintln(a.stderr, root.Name()+":", line)
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

func (a *app) rootCommand() *cobra.Command {
	root := &cobra.Command{
		Use:   "bucketseal",
		Short: "S3 encryption proxy for MinIO, and a KES-compatible key server",
		Long: `bucketseal stands between S3 clients and MinIO. It encrypts objects on their way in and
decrypts them on their way out; MinIO stores ciphertext only. Keys come from an embedded key
service, which can also be run alone and speaks the API of MinIO KES.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	versionFlag(root)
	root.AddCommand(
		a.serverCommand(),
		a.configCommand(),
		a.keyCommand(),
		a.objectCommand(),
		a.rulesCommand(),
		a.credentialCommand(),
		a.identityCommand(),
		a.policyCommand(),
		a.kmsCommand(),
		a.kesCommand(),
		a.statusCommand(),
		a.metricCommand(),
		a.logCommand(),
		a.healthCommand(),
		a.versionCommand(),
	)
	return root
}

// prepare makes root the command that is executed.
func (a *app) prepare(root *cobra.Command) {
	root.SilenceErrors, root.SilenceUsage = true, true
	root.SetIn(a.stdin)
	root.SetOut(a.stdout)
	root.SetErr(a.stderr)
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return usageError{fmt.Errorf("%w; see %s --help", err, cmd.CommandPath())}
	})
	usageErrors(root)
}

// usageErrors makes a wrong number of arguments a usageError in all commands,
// and an unknown sub-command an error.
func usageErrors(cmd *cobra.Command) {
	check := cmd.Args
	if check == nil {
		check = cobra.ArbitraryArgs
	}
	cmd.Args = func(cmd *cobra.Command, args []string) error {
		if cmd.HasSubCommands() && len(args) > 0 {
			return usageError{fmt.Errorf("unknown command %q%s; see %s --help", args[0], didYouMean(cmd, args[0]), cmd.CommandPath())}
		}
		if err := check(cmd, args); err != nil {
			return usageError{fmt.Errorf("%w; see %s --help", err, cmd.CommandPath())}
		}
		return nil
	}
	for _, sub := range cmd.Commands() {
		usageErrors(sub)
	}
}

// didYouMean names the commands that a mistyped one may stand for.
func didYouMean(cmd *cobra.Command, typed string) string {
	if cmd.SuggestionsMinimumDistance <= 0 {
		cmd.SuggestionsMinimumDistance = 2
	}
	similar := cmd.SuggestionsFor(typed)
	if len(similar) == 0 {
		return ""
	}
	return ", did you mean " + strings.Join(similar, " or ") + "?"
}

// group returns a command that only holds others.
func group(use, short string, subs ...*cobra.Command) *cobra.Command {
	cmd := &cobra.Command{
		Use: use, Short: short, Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(subs...)
	return cmd
}

// getenv returns the value of the first variable that has one.
func (a *app) getenv(names ...string) string {
	for _, name := range names {
		if value, _ := a.lookupEnv(name); value != "" {
			return value
		}
	}
	return ""
}
