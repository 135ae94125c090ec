package cli

import (
	"slices"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/bucketseal/bucketseal/proxy/config"
)

// ConfigFlags adds --config and the flags of those settings that are named, or
// of all.
func ConfigFlags(cmd *cobra.Command, names ...string) {
	flags := cmd.Flags()
	flags.String("config", "", "configuration file ($"+config.EnvFile+")")
	_ = cmd.MarkFlagFilename("config", "yml", "yaml")
	for _, s := range config.Settings() {
		if s.Flag == "" || len(names) > 0 && !slices.Contains(names, s.Flag) {
			continue
		}
		usage := s.Usage
		if s.Default != "" {
			usage += " (default " + s.Default + ")"
		}
		if s.Env != "" {
			usage += " ($" + s.Env + ")"
		}
		if s.Type == config.TypeList {
			flags.StringArray(s.Flag, nil, usage)
		} else {
			flags.String(s.Flag, "", usage)
		}
	}
}

// LoadConfig reads file, environment and the flags that were given.
func (a *App) LoadConfig(cmd *cobra.Command) (*config.Config, error) {
	sources := config.Sources{Environ: a.Environ, Flags: make(map[string][]string)}
	cmd.Flags().Visit(func(f *pflag.Flag) {
		if f.Name == "config" {
			sources.File = f.Value.String()
			return
		}
		if many, ok := f.Value.(pflag.SliceValue); ok {
			sources.Flags[f.Name] = many.GetSlice()
		} else {
			sources.Flags[f.Name] = []string{f.Value.String()}
		}
	})
	return config.Load(sources)
}

// AcceptLossFlag is the name of the flag that is given by who knows what is lost.
const AcceptLossFlag = "accept-loss"
