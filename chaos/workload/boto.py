import base64, json, sys
import boto3
from botocore.config import Config
from botocore.exceptions import ClientError

url, access, secret, region = sys.argv[1:5]
s3 = boto3.client("s3", endpoint_url=url, aws_access_key_id=access, aws_secret_access_key=secret,
                  region_name=region, config=Config(s3={"addressing_style": "path"}, read_timeout=20,
                                                    connect_timeout=3, retries={"max_attempts": 3}))
for line in sys.stdin:
    ask = json.loads(line)
    out = {}
    try:
        if "data" in ask:
            s3.put_object(Bucket=ask["bucket"], Key=ask["key"], Body=base64.b64decode(ask["data"]),
                          Metadata={"chaos-write": ask["write"]})
        else:
            got = s3.get_object(Bucket=ask["bucket"], Key=ask["key"])
            out["Data"] = base64.b64encode(got["Body"].read()).decode()
    except ClientError as e:
        out["Error"] = e.response["Error"]["Code"]
    except Exception as e:
        out["Error"] = str(e) or type(e).__name__
    print(json.dumps(out), flush=True)
