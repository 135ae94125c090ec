package keybackup_test

import (
	"bytes"
	"context"
	"fmt"
	"log"
	"time"

	"filippo.io/age"

	"github.com/bucketseal/bucketseal/kms"
	"github.com/bucketseal/bucketseal/kms/keybackup"
	"github.com/bucketseal/bucketseal/kms/keystore/mem"
)

// All keys of one store go into an encrypted file, and from there into another store.
func Example() {
	ctx := context.Background()
	from, to := mem.New(), mem.New()
	service, err := kms.NewLocal(kms.LocalOptions{Store: from})
	if err != nil {
		log.Fatal(err)
	}
	defer service.Close()
	for _, name := range []string{"patients", "staff"} {
		if err := service.CreateKey(ctx, name); err != nil {
			log.Fatal(err)
		}
	}
	identity, err := age.GenerateX25519Identity() // to be kept apart from the file
	if err != nil {
		log.Fatal(err)
	}

	backup, err := keybackup.Take(ctx, from, keybackup.About{Created: time.Now(), Deployment: "default"})
	if err != nil {
		log.Fatal(err)
	}
	defer backup.Zero()
	var file bytes.Buffer
	if err := backup.Write(&file, identity.Recipient()); err != nil {
		log.Fatal(err)
	}

	again, err := keybackup.Read(&file, identity)
	if err != nil {
		log.Fatal(err)
	}
	defer again.Zero()
	if _, err := again.Restore(ctx, to); err != nil {
		log.Fatal(err)
	}
	for _, entry := range again.Entries {
		fmt.Println(entry.Name)
	}
	// Output:
	// patients
	// staff
}
