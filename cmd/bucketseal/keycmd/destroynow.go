package keycmd

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/bucketseal/bucketseal/kms"
)

// everyServer is how long after a version was retired no server acknowledges a write under it: they
// hear of it within eight seconds, and then note what they had begun.
const everyServer = 10 * time.Second

// stillFree judges a version again that is about to be destroyed at once: the question may have
// waited long, and a write that a rotation overtook may have ended meanwhile. The version is
// retired before, so that none can end any more.
func (v *versionCommand) stillFree(ctx context.Context, cmd *cobra.Command, keys kms.Service, name string, version uint32) error {
	versions, err := keys.KeyVersions(ctx, name)
	if err != nil {
		return fmt.Errorf("versions of %q: %w", name, err)
	}
	refused := slices.ContainsFunc(versions, func(i kms.VersionInfo) bool {
		return i.Version == version && (i.State == kms.VersionRetired || i.State == kms.VersionDoomed)
	})
	hint := ""
	if !refused {
		if err := keys.ChangeVersion(ctx, name, kms.VersionChange{Action: kms.Retire, Version: version, Force: true}); err != nil {
			return fmt.Errorf("retire version %d of %q before it is destroyed: %w", version, name, err)
		}
		fmt.Fprintf(v.a.Stderr, "retired version %d of %s; waiting %v until every server knows\n", version, name, everyServer)
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(everyServer):
		}
		hint = fmt.Sprintf(" (it is retired now; bucketseal key reinstate %s %d undoes that)", name, version)
	}
	verdict, err := usedVersion(ctx, v.a, cmd, keys, name, version)
	if err := refusal(verdict, err, fmt.Sprintf("%s version %d of %q", v.action, version, name), v.yes); err != nil {
		return fmt.Errorf("%w%s", err, hint)
	}
	return nil
}
