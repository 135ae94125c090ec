package integration

// multipartDifferences is the part of the list that is about uploads in parts.
func multipartDifferences() []difference {
	const (
		awsHeaders  = "AWS says how the object will be encrypted in the answers to Create and Complete; MinIO does not"
		numbers     = "AWS's code and message for a part number that is none"
		indexes     = "MinIO takes the part number for an index in encrypted objects with gaps; the number is the one that was uploaded, as at AWS"
		encSizes    = "MinIO shows encrypted sizes of parts"
		truncated   = "MinIO says IsTruncated when a number is larger than the count of parts"
		aKeyForNone = "a customer key for an upload that has none is the client's mistake, as for a read"
		idOnly      = "what cannot be an id is no upload; MinIO aborts what does not exist"
		idempotent  = "a Complete whose answer was lost can be repeated, as at AWS"
		writeOnly   = "a refused write says nothing of the object there"
		details     = "the XML parser's own words"
		sameData    = "upstream copies the ciphertext, so a copy keeps its source's ETag; MinIO reads the data and computes the MD5 of the whole"
		computed    = "a checksum that was announced is computed where a part lacks it"
		awsRules    = "AWS refuses it: there is no composite CRC64NVME, and no type without an algorithm"
	)
	return []difference{
		{"mp create*", "header X-Amz-Server-Side-Encryption*", awsHeaders},
		{"mp complete*", "header X-Amz-Server-Side-Encryption*", awsHeaders},
		{"mp checksum *", "header X-Amz-Server-Side-Encryption*", awsHeaders},
		{"mp *", "body /ListPartsResult/ChecksumAlgorithm", "MinIO says an empty one where there is none"},
		{"mp *", "body /ListPartsResult/ChecksumType", "as above"},
		{"mp checksum *complete", "body /CompleteMultipartUploadResult/ChecksumType", "AWS says it; MinIO in a header only"},
		{"mp part number *", "*", numbers},
		{"mp get part 0", "*", numbers},
		{"mp get part x", "*", numbers},
		{"mp head part 0", "*", numbers},
		{"mp head part x", "*", numbers},
		{"mp get part 1", "*", indexes},
		{"mp get part 2", "*", indexes},
		{"mp head part 1", "*", indexes},
		{"mp head part 2", "*", indexes},
		{"mp head part *", "code", "errors of HEAD are told in MinIO's headers"},
		{"mp head part *", "message", "as above"},
		{"mp head part *", "header *", "as above"},
		{"mp copy * head part 2", "*", "as above"},
		{"mp *", "body */Part/Size", encSizes},
		{"mp attributes of parts *", "body */IsTruncated", truncated},
		{"mp attributes of parts *-1*", "*", "a negative number is none"},
		{"mp attributes of empty", "body */ObjectSize", "MinIO leaves a size of 0 out"},
		{"mp bad complete: part x", "*", "MinIO answers 500 InternalError"},
		{"mp bad complete: *XML", "message", details},
		{"mp bad complete: other XML", "code", details},
		{"mp key of complete*", "header X-Amz-Server-Side-Encryption*", awsHeaders},
		{"mp complete again", "*", idempotent},
		{"mp copy s3 to s3*", "*E?ag", sameData},
		{"mp copy kms to s3*", "*", "a copy of an SSE-KMS object has no MD5"},
		{"mp copy kms to none*", "*", "MinIO stores a damaged object, see above"},
		{"mp list copies of parts", "*", "as the three above"},
		{"mp create if *", "header *", writeOnly},
		{"mp complete if *", "header *", writeOnly},
		{"mp create in no bucket", "*", "upstream is not asked before the keys"},
		{"mp bad create: metadata", "body *", "which names the error document repeats"},
		{"mp bad create: bad context", "*", "MinIO answers 500 InternalError"},
		{"mp key of part, * short key", "*", "AWS: 400 InvalidArgument for a key that can be nobody's; MinIO: 403"},
		{"mp key of part, * key not base64", "*", "as above"},
		{"mp key of part, *: right key", "*", aKeyForNone},
		{"mp key of part, *: other key", "*", aKeyForNone},
		{"mp key of part, *: key and s3 header", "*", aKeyForNone + "; the method's header says nothing of a part"},
		{"mp key of list, c: key and s3 header", "*ETag", "as above"},
		{"mp copy part range *", "message", "one message says what the header must be, as at AWS"},
		{"mp copy part * beyond", "message", "as at AWS"},
		{"mp copy part source *", "*", "the source's own parameters are checked as those of a read"},
		{"mp * of a foreign upload", "*", idOnly},
		{"mp garbled id *", "*", idOnly},
		{"mp checksum *: part with none", "*", computed},
		{"mp checksum *: part with another", "message", "MinIO's names its own files"},
		{"mp checksum * part", "header X-Amz-Checksum-Type", "of a part, there is only one type"},
		{"mp create with checksum CRC64NVME COMPOSITE", "*", awsRules},
		{"mp create with checksum  COMPOSITE", "*", awsRules},
	}
}
