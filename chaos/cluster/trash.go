package cluster

import (
	"context"
	"os"
	"path/filepath"
	"time"
)

// emptying is how often what MinIO threw away is removed.
const emptying = 5 * time.Second

// emptyTrash removes what MinIO threw away, until ctx ends. MinIO moves what is deleted or overwritten to a folder, and
// removes it from there every five minutes, more slowly than clients without a pause overwrite (7 GB a minute): the
// drive would fill, and that folder would become slow.
func (c *Cluster) emptyTrash(ctx context.Context) {
	ticks := time.NewTicker(emptying)
	defer ticks.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticks.C:
		}
		for _, s := range c.MinIOs {
			thrown, _ := filepath.Glob(filepath.Join(s.Drive, "data*", ".minio.sys", "tmp", ".trash", "*"))
			for _, one := range thrown {
				_ = os.RemoveAll(one) // a fault may have the drive at this moment: the next round does it
			}
		}
	}
}
