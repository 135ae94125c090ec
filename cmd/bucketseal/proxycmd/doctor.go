package proxycmd

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"

	"github.com/spf13/cobra"

	"github.com/bucketseal/bucketseal/cmd/bucketseal/build"
	"github.com/bucketseal/bucketseal/cmd/bucketseal/cli"
	"github.com/bucketseal/bucketseal/cmd/bucketseal/serve"
	"github.com/bucketseal/bucketseal/kms"
	"github.com/bucketseal/bucketseal/proxy/certs"
	"github.com/bucketseal/bucketseal/proxy/config"
	"github.com/bucketseal/bucketseal/proxy/doctor"
)

// errFindings is the end of a look that found something.
var errFindings = errors.New("the doctor found something")

// DoctorCommand is `bucketseal doctor`.
func DoctorCommand(a *cli.App) *cobra.Command {
	var asJSON, strict bool
	cmd := &cobra.Command{
		Use:   "doctor",
		Short: "Look for what is wrong with an installation, and say what to do",
		Long: `Looks at MinIO, at the rights of the proxy's own credential, at certificates, the key
store, credentials and access, as the server's configuration has them, and changes nothing. Each
finding says what is wrong, why that matters, and what to type. A server that runs and has a
metrics.address is asked what it has found in its own process.

Exit code 0: no error was found (there may be warnings). 1: an error was found, or with --strict a
warning, or the configuration cannot be read. 2: a wrong command line.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := a.LoadConfig(cmd)
			if err != nil {
				return err
			}
			if err := c.CheckServer(); err != nil {
				return err
			}
			report, err := examine(cmd.Context(), a, c)
			if err != nil {
				return err
			}
			if asJSON {
				err = a.PrintJSON(report)
			} else {
				err = printReport(a, report)
			}
			if err == nil && (report.Errors() || strict && len(report.Findings) > 0) {
				return fmt.Errorf("%w: %d findings", errFindings, len(report.Findings))
			}
			return err
		},
	}
	cli.ConfigFlags(cmd)
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	cmd.Flags().BoolVar(&strict, "strict", false, "warnings count as errors for the exit code")
	return cmd
}

// examine looks at the installation that c describes.
func examine(ctx context.Context, a *cli.App, c *config.Config) (*doctor.Report, error) {
	log := slog.New(slog.NewTextHandler(io.Discard, nil)) // what goes wrong is a finding
	up, err := build.Upstream(c, certs.NewWatcher(log))
	if err != nil {
		return nil, err
	}
	defer up.Close()
	opened, keysError := build.OpenKeys(ctx, a, c, false, log)
	var keys kms.Service
	if keysError == nil {
		defer opened.Close()
		keys = opened
	}
	o, err := build.DoctorOptions(func() *config.Config { return c }, up, keys, keysError)
	if err != nil {
		return nil, err
	}
	o.Fit = o.Service.Check
	report := doctor.New(o).Look(ctx)
	if c.MetricsAddress != "" {
		addOwn(ctx, report, c)
	}
	return report, nil
}

// addOwn adds what only the running server can tell of its own process.
func addOwn(ctx context.Context, report *doctor.Report, c *config.Config) {
	theirs, err := serve.AskFindings(ctx, c.MetricsAddress, c)
	switch {
	case err != nil:
		report.Unknown = append(report.Unknown, "the server's own process: "+err.Error())
		return
	case theirs == nil:
		report.Unknown = append(report.Unknown, "the server's own process: it has not looked yet, or doctor.interval is 0")
		return
	}
	for _, f := range theirs.Findings {
		if strings.HasPrefix(f.ID, "machine.") || f.ID == "keys.overdue" {
			report.Findings = append(report.Findings, f)
		}
	}
}

func printReport(a *cli.App, report *doctor.Report) error {
	var b strings.Builder
	for _, f := range report.Findings {
		fmt.Fprintf(&b, "%s %s: %s\n  why: %s\n  do:  %s\n", strings.ToUpper(string(f.Severity)), f.ID, f.What, f.Why, f.Do)
	}
	for _, text := range report.Unknown {
		fmt.Fprintf(&b, "not looked at: %s\n", text)
	}
	if len(report.Findings) == 0 {
		b.WriteString("nothing is wrong\n")
	}
	_, err := fmt.Fprint(a.Stdout, b.String())
	return err
}
