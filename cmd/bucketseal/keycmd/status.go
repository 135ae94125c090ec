package keycmd

import (
	"context"
	"errors"
	"fmt"
	"io"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/bucketseal/bucketseal/cmd/bucketseal/cli"
	"github.com/bucketseal/bucketseal/kms/client"
)

// StatusCommand is `bucketseal status`.
func StatusCommand(a *cli.App) *cobra.Command {
	var asJSON, apis bool
	cmd := &cobra.Command{
		Use:   "status",
		Short: "Show how a key server is doing",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return withClient(a, cmd, func(ctx context.Context, c *client.Client) error {
				s, err := c.ServerStatus(ctx)
				if err != nil {
					return err
				}
				var list []client.API
				if apis {
					if list, err = c.APIs(ctx); err != nil {
						return err
					}
				}
				return printStatus(a, asJSON, s, list)
			})
		},
	}
	RemoteFlags(cmd)
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	cmd.Flags().BoolVar(&apis, "api", false, "list the API too")
	return cmd
}

func printStatus(a *cli.App, asJSON bool, s client.ServerStatus, apis []client.API) error {
	store := "ok"
	switch {
	case s.StoreNotReach:
		store = "unreachable"
	case s.StoreDown:
		store = "unavailable"
	}
	if asJSON {
		return a.PrintJSON(struct {
			Version   string        `json:"version"`
			OS        string        `json:"os"`
			Arch      string        `json:"arch"`
			UpTime    int64         `json:"uptime_seconds"`
			CPUs      int           `json:"num_cpu"`
			Usable    int           `json:"num_cpu_used"`
			Heap      uint64        `json:"mem_heap_used"`
			Stack     uint64        `json:"mem_stack_used"`
			Store     string        `json:"keystore"`
			LatencyNS time.Duration `json:"keystore_latency_ns,omitempty"`
			APIs      []client.API  `json:"api,omitempty"`
		}{s.Version, s.OS, s.Arch, int64(s.UpTime / time.Second), s.CPUs, s.UsableCPUs, s.HeapInUse, s.StackInUse, store, s.StoreLatency, apis})
	}
	if s.StoreLatency > 0 {
		store += ", answers in " + s.StoreLatency.Round(10*time.Microsecond).String()
	}
	w := tabwriter.NewWriter(a.Stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintf(w, "version:\t%s (%s/%s)\nup since:\t%v\nCPUs:\t%d of %d\nmemory:\theap %d KiB, stacks %d KiB\nkey store:\t%s\n",
		s.Version, s.OS, s.Arch, s.UpTime.Round(time.Second), s.UsableCPUs, s.CPUs, s.HeapInUse>>10, s.StackInUse>>10, store)
	for _, api := range apis {
		fmt.Fprintf(w, "%s\t%s\tup to %d bytes\t%d s\n", api.Method, api.Path, api.MaxBody, api.Timeout)
	}
	return w.Flush()
}

// MetricCommand is `bucketseal metric`.
func MetricCommand(a *cli.App) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "metric",
		Short: "Print a key server's metrics in Prometheus's text format",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return withClient(a, cmd, func(ctx context.Context, c *client.Client) error {
				text, err := c.Metrics(ctx)
				if err != nil {
					return err
				}
				_, err = a.Stdout.Write(text)
				return err
			})
		},
	}
	RemoteFlags(cmd)
	return cmd
}

// LogCommand is `bucketseal log`.
func LogCommand(a *cli.App) *cobra.Command {
	var asJSON, errorLog bool
	cmd := &cobra.Command{
		Use:   "log",
		Short: "Follow a key server's audit log, or with --error its error log",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return withClient(a, cmd, func(ctx context.Context, c *client.Client) error {
				if errorLog {
					return follow(ctx, c.ErrorLog, func(e client.ErrorEvent) error { return printErrorEvent(a, asJSON, e) })
				}
				return follow(ctx, c.AuditLog, func(e client.AuditEvent) error { return printAuditEvent(a, asJSON, e) })
			})
		},
	}
	RemoteFlags(cmd)
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	cmd.Flags().BoolVar(&errorLog, "error", false, "follow the error log")
	cmd.Flags().Bool("audit", false, "follow the audit log, which is the default")
	cmd.MarkFlagsMutuallyExclusive("error", "audit")
	return cmd
}

// follow prints events until the stream or ctx ends. That somebody ends it by
// Ctrl-C is no error.
func follow[E any](ctx context.Context, open func(context.Context) (*client.LogStream[E], error), show func(E) error) error {
	stream, err := open(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = stream.Close() }()
	for {
		event, err := stream.Next()
		switch {
		case ctx.Err() != nil || errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return err
		}
		if err := show(event); err != nil {
			return err
		}
	}
}

func printAuditEvent(a *cli.App, asJSON bool, e client.AuditEvent) error {
	if asJSON {
		return a.PrintJSON(e)
	}
	_, err := fmt.Fprintf(a.Stdout, "%s  %3d  %-15s  %s  %s  %v\n", e.Time.UTC().Format(time.RFC3339), e.Code, e.IP, e.Path, e.Identity, e.Duration)
	return err
}

func printErrorEvent(a *cli.App, asJSON bool, e client.ErrorEvent) error {
	if asJSON {
		return a.PrintJSON(e)
	}
	_, err := fmt.Fprintln(a.Stdout, e.Message)
	return err
}
