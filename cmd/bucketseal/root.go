package main

import (
	"context"
	"io"

	"github.com/spf13/cobra"

	"github.com/bucketseal/bucketseal/cmd/bucketseal/cli"
	"github.com/bucketseal/bucketseal/cmd/bucketseal/kescmd"
	"github.com/bucketseal/bucketseal/cmd/bucketseal/keycmd"
	"github.com/bucketseal/bucketseal/cmd/bucketseal/proxycmd"
)

// run executes one command line and returns the exit code: 0, 1 for a failure,
// 2 for a wrong command line.
func run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer, environ []string) int {
	return runAs(ctx, "bucketseal", args, stdin, stdout, stderr, environ)
}

// runAs is run for a program that was called by a name.
func runAs(ctx context.Context, program string, args []string, stdin io.Reader, stdout, stderr io.Writer, environ []string) int {
	a := cli.New(stdin, stdout, stderr, environ)
	root := rootCommand
	if kescmd.CalledAs(program) {
		root = kescmd.Command
	}
	return a.Execute(ctx, root(a), args)
}

// rootCommand returns the tree of all commands.
func rootCommand(a *cli.App) *cobra.Command {
	root := &cobra.Command{
		Use:   "bucketseal",
		Short: "S3 encryption proxy for MinIO, and a KES-compatible key server",
		Long: `bucketseal stands between S3 clients and MinIO. It encrypts objects on their way in and
decrypts them on their way out; MinIO stores ciphertext only. Keys come from an embedded key
service, which can also be run alone and speaks the API of MinIO KES.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cli.VersionFlag(root)
	root.AddCommand(
		proxycmd.ServerCommand(a),
		proxycmd.ConfigCommand(a),
		keycmd.KeyCommand(a),
		proxycmd.ObjectCommand(a),
		proxycmd.RulesCommand(a),
		proxycmd.CredentialCommand(a),
		proxycmd.AuditCommand(a),
		keycmd.IdentityCommand(a),
		keycmd.PolicyCommand(a),
		keycmd.KMSCommand(a),
		kescmd.Command(a),
		keycmd.StatusCommand(a),
		keycmd.MetricCommand(a),
		keycmd.LogCommand(a),
		proxycmd.HealthCommand(a),
		proxycmd.DoctorCommand(a),
		cli.VersionCommand(a),
	)
	return root
}
