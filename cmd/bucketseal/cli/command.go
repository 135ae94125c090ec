package cli

import (
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"
)

// usageErrors makes a wrong number of arguments a usageError in all commands,
// and an unknown sub-command an error.
func usageErrors(cmd *cobra.Command) {
	check := cmd.Args
	if check == nil {
		check = cobra.ArbitraryArgs
	}
	cmd.Args = func(cmd *cobra.Command, args []string) error {
		if cmd.HasSubCommands() && len(args) > 0 {
			return Usage(fmt.Errorf("unknown command %q%s; see %s --help", args[0], didYouMean(cmd, args[0]), cmd.CommandPath()))
		}
		if err := check(cmd, args); err != nil {
			return Usage(fmt.Errorf("%w; see %s --help", err, cmd.CommandPath()))
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

// Group returns a command that only holds others.
func Group(use, short string, subs ...*cobra.Command) *cobra.Command {
	cmd := &cobra.Command{
		Use: use, Short: short, Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(subs...)
	return cmd
}

// Each calls f for every name and joins the errors: one that fails does not keep
// the others from being done.
func Each(names []string, f func(name string) error) error {
	var errs []error
	for _, name := range names {
		errs = append(errs, f(name))
	}
	return errors.Join(errs...)
}
