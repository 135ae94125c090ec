package cluster

import (
	"context"
	"os"
	"path/filepath"
	"time"
)

// emptying is how often what MinIO threw away is removed.
const emptying = 5 * time.Second

// emptyTrash removes what MinIO threw away, until ctx ends. MinIO moves what is deleted or overwritten to a folder that it
// empties every five minutes, without haste; clients without a pause put 6 GB a minute there, and an hour of them filled
// the drive.
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
