package doctor

// Kind is a kind of finding.
type Kind struct {
	// ID names it for ever: in metrics, alerts and scripts.
	ID       string
	Severity Severity
	// Why says why it matters, Do what to type or change.
	Why, Do string
}

// Kinds are all kinds of findings.
func Kinds() []Kind {
	return slicesOf(upstreamKinds(), systemKinds(), accessKinds(), tlsKinds(), keyKinds(), machineKinds())
}

func slicesOf(groups ...[]Kind) (all []Kind) {
	for _, g := range groups {
		all = append(all, g...)
	}
	return all
}

func upstreamKinds() []Kind {
	return []Kind{
		{"upstream.unreachable", Error, "nothing can be read or written", "curl -i UPSTREAM/minio/health/live from this machine, and look at upstream.endpoint"},
		{"upstream.tls", Error, "MinIO's certificate is not trusted, so nothing is sent to it", "give the authority that signed it as upstream.ca, and call MinIO by a name that stands in it"},
		{"upstream.tls-expiry", Warning, "once it has expired nothing can be read or written", "renew MinIO's certificate"},
		{"upstream.plain-http", Warning, "whoever is on the way reads names, metadata and what is not encrypted, and what MinIO answers can be changed", "give MinIO a certificate, and write https in upstream.endpoint"},
		{"upstream.clock", Error, "requests are signed with the time, and MinIO refuses them from 15 minutes on; presigned URLs and sessions end at the wrong time", "run chronyd or systemd-timesyncd on both machines: timedatectl"},
		{"upstream.credential", Error, "without its own credential the proxy cannot reach the system bucket, and is not ready", "mc admin user info ALIAS ACCESS_KEY, and compare upstream.credentials"},
		{"upstream.region", Error, "MinIO refuses what is signed for another region", "set upstream.region to MINIO_REGION of MinIO"},
		{"upstream.readonly", Error, "writes fail, and acknowledgements cannot be given", "mc admin info ALIAS: look for drives that are full, offline or read-only"},
		{"upstream.unfit", Error, "the storage loses what encrypted objects need: nothing is served", "use a MinIO that was tested (docs/compatibility.md), without a proxy in between that changes requests"},
		{"upstream.kms", Error, "MinIO can encrypt once more what is encrypted already, and all is lost with that KMS", "if MinIO has ever run with it, first take over what it encrypted, its users and settings too (docs/operations.md, \"A MinIO that encrypted itself\"); only then take MINIO_KMS_* out of its environment and start it again"},
		{"upstream.rule", Error, "what is written there is encrypted twice, and lost with MinIO's KMS", "mc encrypt clear ALIAS/BUCKET on an alias of MinIO's own, and copy the objects onto themselves"},
	}
}

func systemKinds() []Kind {
	return []Kind{
		{"right.missing", Error, "what needs the right is refused, or the proxy does not become ready", "give the user the policy of docs/configuration.md, \"The proxy's own rights at MinIO\": mc admin policy attach ALIAS POLICY --user ACCESS_KEY"},
		{"system.missing", Error, "without the system bucket bucket rules and manifests are gone: writes are refused, and objects of parts cannot be read", "restore the system bucket from a backup (docs/backup.md); without one, bucketseal rules reset and bucketseal object rescue"},
		{"system.versioning", Error, "an object that is overwritten there cannot be brought back", "mc version enable ALIAS/SYSTEM_BUCKET"},
		{"system.lifecycle", Error, "MinIO will delete manifests and rules, and objects cannot be read without them", "mc ilm rule rm --all --force ALIAS/SYSTEM_BUCKET"},
		{"system.policy", Error, "others than the proxy may read or write the system bucket", "mc anonymous set none ALIAS/SYSTEM_BUCKET"},
		{"system.object-lock", Warning, "what the sweep removes stays, and the bucket grows for ever", "mc retention clear --default ALIAS/SYSTEM_BUCKET"},
	}
}

func accessKinds() []Kind {
	return []Kind{
		{"credential.unknown", Error, "requests signed with it are refused by MinIO", "mc admin user add ALIAS ACCESS_KEY SECRET_KEY with the pair of the configuration (that in upstream, where the credential has one), or take it out of credentials"},
		{"access.plain-read", Warning, "MinIO can plant an object in any of these buckets, and clients take it for one of theirs", "list the buckets that hold objects from before in plain_read, by name; bucketseal object encrypt makes it needless"},
		{"access.anonymous", Warning, "whoever MinIO lets, without any signature, has these objects decrypted: one wrong policy at MinIO is enough", "list the public buckets in allow_anonymous, by name"},
	}
}

func tlsKinds() []Kind {
	return []Kind{
		{"tls.certificate", Error, "clients cannot connect", "renew the certificate; the server takes up new files by itself"},
		{"tls.expiry", Warning, "once it has expired clients cannot connect", "renew the certificate; the server takes up new files by itself"},
		{"tls.names", Warning, "clients that call the server by that name refuse it", "have the certificate issued for all names that clients use; for domain also *.NAME"},
		{"tls.chain", Warning, "clients that do not know the authority in between refuse it", "put the certificates in order in the file: the server's, then each one that signed the one before"},
		{"keyserver.tls-expiry", Warning, "once it has expired no key can be used", "renew the key server's certificate"},
	}
}

func keyKinds() []Kind {
	return []Kind{
		{"keys.unusable", Error, "encrypted objects cannot be read, and none written", "bucketseal key ls with the server's configuration says more; for a key server: bucketseal status"},
		{"keys.missing", Error, "writes that need the key are refused", "bucketseal key create NAME; if objects lie under it, restore the key from a backup instead"},
		{"keys.slow", Warning, "each write waits for the key service, and uncached reads too", "look at the network to the key server, or at the disk of the key store"},
		{"keys.overdue", Warning, "keys are older than rotate_after allows, because their rotation fails", "look for \"rotate\" in the log; bucketseal key rotate NAME"},
		{"keys.backup", Warning, "when the disk with the keys is lost, every object is lost", "bucketseal key backup --recipient age1... --output FILE, and keep it elsewhere"},
		{"files.permissions", Error, "other users of this machine can read keys or secrets", "chmod -R go-rwx on what is named"},
	}
}

func machineKinds() []Kind {
	return []Kind{
		{"machine.memory", Warning, "under load the process may be ended for want of memory", "lower small_object.budget, or set GOMEMLIMIT below the memory that there is"},
		{"machine.files", Warning, "each request takes two: beyond, connections are refused", "ulimit -n 65536, or LimitNOFILE=65536 in the unit"},
		{"machine.swap", Warning, "keys may be written to the disk with the memory", "swapoff -a, encrypted swap, or MemorySwapMax=0 in the unit"},
		{"machine.core", Warning, "a core dump holds keys", "ulimit -c 0, or LimitCORE=0 in the unit"},
	}
}
