"""Words that sound like a program's own fault and are not: what a database holds, what a message brought, who may do what, what a node
or an accelerator lacks. A release and somebody else's doing fit them alike, so that a person is asked. And the program's own words still
accuse its release."""

from __future__ import annotations

import pytest

from app.domain.accusing import Sign
from remediations.evidence.last_words import heard
from tests.unit.causes.world import World

DATA = tuple(
    """MongoServerError: E11000 duplicate key error collection: shop.orders index: sku_1 dup key
ERROR: duplicate key value violates unique constraint "orders_pkey"
psycopg2.errors.ForeignKeyViolation: insert or update on table "orders" violates foreign key constraint "orders_customer_fk"
sqlalchemy.exc.IntegrityError: (sqlite3.IntegrityError) UNIQUE constraint failed: orders.sku
java.sql.SQLIntegrityConstraintViolationException: Duplicate entry '7' for key 'orders.PRIMARY'
ER_NO_REFERENCED_ROW_2: Cannot add or update a child row: a foreign key constraint fails (`shop`.`orders`)
Microsoft.Data.SqlClient.SqlException: Violation of PRIMARY KEY constraint 'PK_Orders'. Cannot insert duplicate key in object 'dbo.Orders'.
ORA-00001: unique constraint (SHOP.ORDERS_PK) violated
DB2 SQL Error: SQLCODE=-803, SQLSTATE=23505, SQLERRMC=1;SHOP.ORDERS
ActiveRecord::RecordNotUnique: PG::UniqueViolation: ERROR: duplicate key value violates unique constraint "index_orders_on_sku"
PrismaClientKnownRequestError: Unique constraint failed on the fields: (`sku`) code: P2002
SequelizeUniqueConstraintError: Validation error
Ecto.ConstraintError: constraint error when attempting to insert struct: orders_sku_index (unique_constraint)
org.springframework.dao.DataIntegrityViolationException: could not execute statement
psycopg2.errors.NumericValueOutOfRange: integer out of range
psycopg2.errors.StringDataRightTruncation: value too long for type character varying(20)
ERROR: nextval: reached maximum value of sequence "orders_id_seq" (2147483647)""".splitlines()
)
MESSAGES = tuple(
    """org.apache.avro.AvroTypeException: Found com.partner.OrderV3, expecting com.shop.Order, missing required field tier
google.protobuf.message.DecodeError: Error parsing message with type 'shop.Order' at offset 118231 partition 3
com.google.protobuf.InvalidProtocolBufferException: Protocol message contained an invalid tag (zero).
panic: proto: cannot parse invalid wire-format data
Error: DecodeError { description: "invalid wire type: StartGroup (expected Varint)" }
org.apache.kafka.common.errors.RecordDeserializationException: Error deserializing key/value for partition orders-3 at offset 118231.
org.apache.kafka.common.errors.SerializationException: Unknown magic byte!
fastavro._schema_common.SchemaResolutionError: Schema mismatch: int is not string
org.springframework.amqp.support.converter.MessageConversionException: failed to convert Message content
org.apache.thrift.protocol.TProtocolException: Required field 'sku' was not found in serialized data!
Confluent.Kafka.ConsumeException: Local: Value deserialization error: invalid option at offset 44 partition 2""".splitlines()
)
RIGHTS = tuple(
    """MongoServerError: user is not allowed to do action [find] on [shop.orders]
MongoServerError: not authorized on shop to execute command { find: "orders" }
ERROR 1142 (42000): SELECT command denied to user 'app'@'10.1.2.3' for table 'orders'
The SELECT permission was denied on the object 'Orders', database 'shop', schema 'dbo'.
ORA-01031: insufficient privileges
NOPERM this user has no permissions to run the 'get' command
Code: 497. DB::Exception: app: Not enough privileges.
com.datastax.oss.driver.api.core.servererrors.UnauthorizedException: User app has no SELECT permission on <table shop.orders>
elasticsearch.AuthorizationException: AuthorizationException(403, 'security_exception', 'action is unauthorized for user [app]')""".splitlines()
)
PLACES = tuple(
    """connect: cannot assign requested address
dial tcp 10.0.0.3:5432: connect: cannot assign requested address
Error: connect EADDRNOTAVAIL 10.0.0.3:5432
nf_conntrack: table full, dropping packet
web: HttpExceptionRequest Request { host = "flags" } (ConnectionFailure Network.Socket.getAddrInfo (called with preferred socket type/protocol: AddrInfo {..}): does not exist (Temporary failure in name resolution))
RuntimeError: CUDA error: uncorrectable ECC error encountered
RuntimeError: No CUDA GPUs are available
NCCL WARN Cuda failure 'unspecified launch failure'
ncclUnhandledCudaError: NCCL error: unhandled cuda error
HIP error: hipErrorNoDevice, HSA device lost
NVRM: Xid (PCI:0000:17:00): 79, GPU has fallen off the bus""".splitlines()
)
OWN = tuple(
    """TypeError: app.usee is not a function
ImportError: cannot import name 'db' from 'app'
Error: listen EACCES: permission denied 0.0.0.0:80
bind: cannot assign requested address
panic: assignment to entry in nil map
psycopg2.errors.UndefinedColumn: column orders.tier does not exist
TS2588: Cannot assign to 'x' because it is a constant.
required key SHOP_RETRIES missing value""".splitlines()
)


@pytest.mark.parametrize("said", [*DATA, *MESSAGES, *RIGHTS, *PLACES])
def test_what_data_a_message_a_right_or_a_node_brought_is_no_own_fault(said: str) -> None:
    for level in ("ERROR ", ""):
        assert heard(level + said).sign is not Sign.OWN


@pytest.mark.parametrize("said", [*RIGHTS, *PLACES[:7]])
def test_who_has_no_right_and_whom_the_node_gives_nothing_is_somebody_elses_trouble(said: str) -> None:
    assert heard(f"ERROR {said}").sign is Sign.OTHERS


@pytest.mark.parametrize("said", OWN)
def test_the_programs_own_words_still_accuse_it(said: str) -> None:
    assert heard(f"ERROR {said}").sign is Sign.OWN


@pytest.mark.parametrize("said", [DATA[0], MESSAGES[0], RIGHTS[0], PLACES[0], PLACES[4]])
async def test_a_release_whose_pods_say_so_is_not_rolled_back_without_a_question(said: str) -> None:
    _, steps = await World().rolling().crash("new-0").said("app", said).look()
    assert steps["roll-back"].asks


@pytest.mark.parametrize("said", OWN[:2])
async def test_a_release_that_breaks_by_itself_is_rolled_back_without_one(said: str) -> None:
    _, steps = await World().rolling().crash("new-0").said("app", said).look()
    assert steps["roll-back"].applies
    assert not steps["roll-back"].asks
