package cli

import (
	"fmt"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"
)

// BuildInfo is what the Go toolchain noted in the binary.
type BuildInfo struct {
	Version  string `json:"version"`
	Commit   string `json:"commit"`
	Modified bool   `json:"modified"` // built from a tree with changes
	Time     string `json:"commit_time,omitempty"`
	Go       string `json:"go"`
	Platform string `json:"platform"`
	FIPS     string `json:"fips"` // off, on or only
}

// ReadBuildInfo returns what is known of this binary; "devel" and "unknown" stand for
// what is not.
func ReadBuildInfo() BuildInfo {
	b := BuildInfo{Version: "devel", Commit: "unknown", Go: runtime.Version(), Platform: runtime.GOOS + "/" + runtime.GOARCH, FIPS: fipsMode()}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return b
	}
	if v := info.Main.Version; v != "" && v != "(devel)" {
		b.Version = v
	}
	for _, s := range info.Settings {
		switch s.Key {
		case "vcs.revision":
			b.Commit = s.Value
		case "vcs.modified":
			b.Modified = s.Value == "true"
		case "vcs.time":
			b.Time = s.Value
		}
	}
	return b
}

// line is what people read.
func (b BuildInfo) line() string {
	modified := ""
	if b.Modified {
		modified = ", modified"
	}
	return fmt.Sprintf("bucketseal %s (commit %s%s; %s; %s%s)\n", b.Version, b.Commit, modified, b.Go, b.Platform, fipsText())
}

// VersionFlag adds --version, -v.
func VersionFlag(cmd *cobra.Command) {
	cmd.Version = ReadBuildInfo().line()
	cmd.SetVersionTemplate("{{.Version}}")
}

// VersionCommand is `bucketseal version`.
func VersionCommand(a *App) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "version",
		Short: "Show the version of this binary",
		Args:  cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			b := ReadBuildInfo()
			if asJSON {
				return a.PrintJSON(b)
			}
			_, err := fmt.Fprint(a.Stdout, b.line())
			return err
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}
